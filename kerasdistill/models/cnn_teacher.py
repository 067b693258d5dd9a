"""Urban's teacher network (fact sheet A4)."""

import keras

from kerasdistill.models.preprocessing import standardized
from kerasdistill.recipes.base import CnnTeacher
from kerasdistill.seeds import derive_seed


def build(
    architecture: CnnTeacher,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds c^2-mp-c^2-mp-c^4-mp-fc^2-logits.

    3x3 same-padded convolutions, 2x2 max pooling, ReLU, dropout after each pooling
    and each fully connected layer; Glorot-uniform weights times `init_scale`,
    biases 0; L2 penalty weight_decay/2 * sum(w^2) on kernels only.

    Args:
        architecture: widths, dropout rates, weight decay, initialisation scale.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; input layers and logits stay float32.

    Returns:
        An unnamed-input Keras model, [batch, *image_shape] -> float32 logits
        [batch, num_classes]. The three published ones have 5,339,350, 2,453,729
        and 5,823,101 parameters on CIFAR-10.
    """

    def weights(layer: str) -> dict:
        glorot = keras.initializers.VarianceScaling(
            scale=architecture.init_scale**2,
            mode="fan_avg",
            distribution="uniform",
            seed=derive_seed(seed, layer, "weights"),
        )
        return {
            "kernel_initializer": glorot,
            "kernel_regularizer": keras.regularizers.L2(architecture.weight_decay / 2),
            "name": layer,
        }

    def dropout(x, index: int):
        name = f"dropout_{index}"
        rate = architecture.dropout_rates[index - 1]
        layer = keras.layers.Dropout(
            rate, seed=derive_seed(seed, name), dtype=precision, name=name
        )
        return layer(x)

    inputs = keras.Input(image_shape, name="image")
    x = standardized(inputs)
    convolutions = zip((2, 2, 4), architecture.filters, strict=True)
    for block, (count, filters) in enumerate(convolutions, start=1):
        for index in range(1, count + 1):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                dtype=precision,
                **weights(f"conv_{block}_{index}"),
            )(x)
        x = keras.layers.MaxPooling2D(2, dtype=precision, name=f"pool_{block}")(x)
        x = dropout(x, block)
    x = keras.layers.Flatten(name="flatten", dtype=precision)(x)
    for index in (1, 2):
        x = keras.layers.Dense(
            architecture.dense,
            activation="relu",
            dtype=precision,
            **weights(f"dense_{index}"),
        )(x)
        x = dropout(x, 3 + index)
    logits = keras.layers.Dense(num_classes, dtype="float32", **weights("logits"))(x)
    return keras.Model(inputs, logits, name="cnn_teacher")
