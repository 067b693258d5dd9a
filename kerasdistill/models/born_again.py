"""The second paper's networks on images (docs/papers/born-again.md)."""

import keras

from kerasdistill.errors import UserError
from kerasdistill.models.layers import BornAgain
from kerasdistill.models.summary import leaf_layers
from kerasdistill.recipes.architectures import (
    Architecture,
    BanResNet,
    DenseNet,
    WideResNet,
)

_NAMES = {WideResNet: "wide_resnet", DenseNet: "densenet"}


def build(
    architecture: Architecture,
    *,
    num_classes: int,
    teacher: keras.Model | None = None,
    **options,
) -> keras.Model:
    """The network of `recipes.born_again_layers`; arguments are those of `build.build`.

    Table 5's students take layers over from `teacher` (`take_over`), if there is one.
    """
    if isinstance(architecture, BanResNet):
        name = f"ban_{architecture.kind}_resnet"
    else:
        name = _NAMES[type(architecture)]
    model = BornAgain(architecture, **options).model(name, num_classes)
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
    layers = [layer for layer in leaf_layers(model) if isinstance(layer, kind)]
    if not layers:
        raise UserError(
            f"model {model.name!r} has no {kind.__name__} layer to share; give a "
            "teacher such as densenet-90-60"
        )
    return layers[position]
