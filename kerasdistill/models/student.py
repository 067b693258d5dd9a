"""Urban's students: MLPs and CNNs with one fully connected layer (fact sheet A5)."""

import keras

from kerasdistill.budget import POOLED_AFTER, flat_pixels
from kerasdistill.errors import UserError
from kerasdistill.models.preprocessing import standardized
from kerasdistill.recipes.base import Student
from kerasdistill.seeds import derive_seed


def build(
    architecture: Student,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds the layers in the order of fact sheet A5's table.

    Without convolutions: [bottleneck] - fc x L - logits; with one: c-mp-bottleneck-
    fc-logits; with two to four: c-mp-c-mp, c-mp-c-mp-c-mp or c-mp-c-c-mp-c-mp, then
    fc-logits. Convolutions are same-padded with ReLU, the bottleneck is linear.
    Weights are Glorot uniform times `init_scale`, biases 0; dropout and the L2
    penalty weight_decay/2 * sum(w^2) exist only where the architecture asks.

    Args:
        architecture: widths, kernel, pooling, scales and regularisation.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.

    Returns:
        A model of stock layers, [batch, *image_shape] -> float32 logits
        [batch, num_classes].

    Raises:
        UserError: the architecture breaks the paper's rules or the image is too
            small for its poolings.
    """
    _check(architecture, image_shape)

    def weights(layer: str) -> dict:
        return _weights(architecture, layer, seed)

    def dropout(x, index: int, name: str):
        if not architecture.dropout_rates:
            return x
        rate = architecture.dropout_rates[index]
        own = derive_seed(seed, name)
        return keras.layers.Dropout(rate, seed=own, dtype=precision, name=name)(x)

    inputs = keras.Input(image_shape, name="image")
    x = standardized(inputs, input_scale=architecture.input_scale)
    pools = 0
    for index, filters in enumerate(architecture.filters, start=1):
        x = keras.layers.Conv2D(
            filters,
            architecture.kernel,
            padding="same",
            activation="relu",
            dtype=precision,
            **weights(f"conv_{index}"),
        )(x)
        if index in POOLED_AFTER[len(architecture.filters)]:
            pools += 1
            x = keras.layers.MaxPooling2D(
                architecture.pool,
                strides=architecture.pool_stride,
                dtype=precision,
                name=f"pool_{pools}",
            )(x)
            x = dropout(x, pools - 1, f"dropout_{pools}")
    x = keras.layers.Flatten(dtype=precision, name="flatten")(x)
    if architecture.bottleneck is not None:
        x = keras.layers.Dense(
            architecture.bottleneck, dtype=precision, **weights("bottleneck")
        )(x)
    for index, units in enumerate(architecture.hidden, start=1):
        x = keras.layers.Dense(
            units, activation="relu", dtype=precision, **weights(f"dense_{index}")
        )(x)
        x = dropout(x, pools, f"dropout_dense_{index}")
    logits = keras.layers.Dense(num_classes, dtype="float32", **weights("logits"))(x)
    return keras.Model(inputs, logits, name="student")


def _weights(architecture: Student, layer: str, seed: int) -> dict:
    penalty = None
    if architecture.weight_decay > 0:
        penalty = keras.regularizers.L2(architecture.weight_decay / 2)
    glorot = keras.initializers.VarianceScaling(
        scale=architecture.init_scale**2,
        mode="fan_avg",
        distribution="uniform",
        seed=derive_seed(seed, layer, "weights"),
    )
    return {
        "kernel_initializer": glorot,
        "kernel_regularizer": penalty,
        "name": layer,
    }


def _check(architecture: Student, image_shape: tuple[int, int, int]) -> None:
    convs, hidden = len(architecture.filters), len(architecture.hidden)
    flat_pixels(image_shape, convs=convs, pool=architecture.pool)
    if hidden < 1 or (convs and hidden > 1):
        raise UserError(
            f"a student with {convs} convolutions has {hidden} hidden layers; "
            "expected 1, or 1 to 5 without convolutions"
        )
    if architecture.bottleneck is not None and convs > 1:
        raise UserError(
            f"a student with {convs} convolutions has a bottleneck; expected none "
            "(set bottleneck to null) with more than one convolution"
        )
    rates, expected = len(architecture.dropout_rates), len(POOLED_AFTER[convs]) + 1
    if rates not in (0, expected):
        raise UserError(
            f"a student with {convs} convolutions has {rates} dropout rates; "
            f"expected none or {expected}: one after each pooling, one after the "
            "hidden layers"
        )
