"""Urban's teachers, and students: MLPs and CNNs (docs/papers/urban2017.md)."""

import keras

from kerasdistill.models.layers import Urban
from kerasdistill.recipes.base import CnnTeacher, Student

_NAMES = {Student: "student", CnnTeacher: "cnn_teacher"}


def build(
    architecture: Student | CnnTeacher,
    *,
    num_classes: int,
    precision: str = "float32",
    **options,
) -> keras.Model:
    """The network of `recipes.urban2017_layers`; arguments are those of `build.build`.

    Raises:
        UserError: the architecture breaks the paper's rules or the image is too
            small for its poolings.
    """
    layers = Urban(architecture, precision=precision, **options)
    return layers.model(_NAMES[type(architecture)], num_classes)
