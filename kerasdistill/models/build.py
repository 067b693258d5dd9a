"""One door: the architecture in a recipe becomes a Keras model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasdistill.models import born_again, fast_teacher, given, urban
from kerasdistill.recipes.architectures import BanResNet, DenseNet, WideResNet
from kerasdistill.recipes.base import CnnTeacher, FastTeacher, GivenNetwork, Student


@dataclass(frozen=True)
class Family:
    """How networks of one type of architecture come about.

    Attributes:
        build: (architecture, *, image_shape, num_classes, seed, precision) -> model
            from pixels 0-255 to logits.
        takes: further arguments of `build`'s, among "images" and "teacher".
        published: from the trained model to the one that is kept and labels.
    """

    build: Callable[..., keras.Model]
    takes: tuple[str, ...] = ()
    published: Callable[[keras.Model], keras.Model] = lambda model: model


FAMILIES: dict[type, Family] = {
    Student: Family(urban.build),
    CnnTeacher: Family(urban.build),
    FastTeacher: Family(
        fast_teacher.build, takes=("images",), published=fast_teacher.published
    ),
    GivenNetwork: Family(given.build),
    WideResNet: Family(born_again.build),
    DenseNet: Family(born_again.build),
    BanResNet: Family(born_again.build, takes=("teacher",)),
}


def build(
    architecture: Any,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int = 0,
    precision: str = "float32",
    images: np.ndarray | None = None,
    teacher: keras.Model | None = None,
) -> keras.Model:
    """The untrained network of any architecture of images.

    Args:
        architecture: of a type among `FAMILIES`.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.
        images: the training images, uint8 [N, *image_shape], for networks that
            normalise by them (fast teachers).
        teacher: for networks that take layers over from theirs (Table 5's students);
            without one these layers stay random.

    Raises:
        UserError: the architecture does not fit the images, or the teacher.
    """
    family = FAMILIES[type(architecture)]
    more = {"images": images, "teacher": teacher}
    return family.build(
        architecture,
        image_shape=image_shape,
        num_classes=num_classes,
        seed=seed,
        precision=precision,
        **{name: more[name] for name in family.takes},
    )


def published(architecture: Any, model: keras.Model) -> keras.Model:
    """The model to keep, and to label with, of the one that was trained."""
    return FAMILIES[type(architecture)].published(model)
