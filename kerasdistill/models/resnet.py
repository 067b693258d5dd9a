"""Table 5's residual students of a DenseNet (fact sheet B7)."""

import keras

from kerasdistill.errors import UserError
from kerasdistill.models.densenet import transition
from kerasdistill.models.layers import Layers
from kerasdistill.models.preprocessing import normalized
from kerasdistill.models.summary import leaf_layers
from kerasdistill.models.wide_resnet import wide_unit
from kerasdistill.recipes.architectures import BanResNet


def build(
    architecture: BanResNet,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
    teacher: keras.Model | None = None,
) -> keras.Model:
    """Builds the teacher's first convolution, three residual stages, its classifier.

    First and last layer are frozen and hold the teacher's weights. A
    "wide" stage has units of its own width and a transition to the teacher's; a
    "pre" stage has bottleneck units at the teacher's width, the first of which
    projects its input. Stages one and two end in 2x2 average pooling.

    Args:
        architecture: kind, units, ratio, the teacher's sizes, weight decay.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.
        teacher: see `take_over` (None: these layers stay random).

    Returns:
        A model, [batch, *image_shape] -> float32 logits [batch, num_classes].
    """
    layers = Layers(seed, architecture.weight_decay, precision)
    stage_of = {"wide": _wide_stage, "pre": _pre_stage}[architecture.kind]
    inputs = keras.Input(image_shape, name="image")
    x = normalized(inputs)
    x = layers.conv(x, architecture.stem, 3, name="conv_1", trainable=False)
    for stage, size in enumerate(architecture.sizes, start=1):
        x = stage_of(layers, x, architecture, size, stage)
        if stage < len(architecture.sizes):
            x = layers.halve(x, name=f"pool_{stage}")
    logits = layers.logits(x, num_classes, trainable=False)
    model = keras.Model(inputs, logits, name=f"ban_{architecture.kind}_resnet")
    if teacher is not None:
        take_over(model, teacher)
    return model


def take_over(student: keras.Model, teacher: keras.Model) -> None:
    """Copies the teacher's first convolution and classifier into the student.

    Args:
        student: one of `build`'s; only its frozen layers change.
        teacher: a network of convolutions under one dense layer.

    Raises:
        UserError: layers that are missing or of another shape.
    """
    for kind, position in ((keras.layers.Conv2D, 0), (keras.layers.Dense, -1)):
        own, given = (_layer(model, kind, position) for model in (student, teacher))
        shapes = [[weight.shape for weight in layer.weights] for layer in (own, given)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"the teacher's layer {given.name!r} has weights {shapes[1]}, the "
                f"student's {own.name!r} has {shapes[0]}; give a teacher such as "
                "densenet-90-60 on the same data set"
            )
        own.set_weights(given.get_weights())


def _layer(model: keras.Model, kind: type, position: int) -> keras.Layer:
    found = [layer for layer in leaf_layers(model) if isinstance(layer, kind)]
    if not found:
        raise UserError(
            f"model {model.name!r} has no {kind.__name__} layer to share; give a "
            "teacher such as densenet-90-60"
        )
    return found[position]


def _wide_stage(layers: Layers, x, architecture: BanResNet, size: int, stage: int):
    filters = int(architecture.ratio * size)
    for unit in range(1, architecture.units + 1):
        x = wide_unit(layers, x, filters, name=f"unit_{stage}_{unit}")
    return transition(layers, x, size, name=f"transition_{stage}")


def _pre_stage(layers: Layers, x, architecture: BanResNet, size: int, stage: int):
    filters = int(architecture.ratio * size / 4)
    for unit in range(1, architecture.units + 1):
        name = f"unit_{stage}_{unit}"
        active = layers.norm_relu(x, name=f"{name}_1")
        if x.shape[-1] != size:
            x = layers.conv(active, size, 1, name=f"{name}_shortcut")
        y = layers.conv(active, filters, 1, name=f"{name}_conv_1")
        y = layers.norm_relu(y, name=f"{name}_2")
        y = layers.conv(y, filters, 3, name=f"{name}_conv_2")
        y = layers.norm_relu(y, name=f"{name}_3")
        y = layers.conv(y, size, 1, name=f"{name}_conv_3")
        x = layers.add(y, x, name=name)
    return x
