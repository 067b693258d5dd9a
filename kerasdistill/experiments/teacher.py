"""A teacher: hard labels, views made on the fly (fact sheet A4)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasdistill.experiments import plans, training
from kerasdistill.models import cnn_teacher, fast_teacher
from kerasdistill.recipes import base
from pipelines.datasets import ImageData


def run(
    recipe: base.AnyTeacherRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    planned: plans.Step | None = None,
) -> dict[str, Any]:
    """Trains the teacher, or finishes or finds the run that did.

    `planned` is what somebody has announced already (None: it is done here).

    Returns:
        The content of `results.json`. A fast teacher's has `val_accuracy_mirrored`
        and `test_accuracy_mirrored` too: of the mean of the logits of an image and
        its mirror image.
    """
    fast = isinstance(recipe, base.FastTeacherRecipe)
    return training.on_hard_labels(
        builder(recipe, data),
        recipe,
        kind="teacher",
        data=data,
        workdir=workdir,
        planned=planned,
        published=functools.partial(published, recipe),
        mirrored=fast,
    )


def published(recipe: base.AnyTeacherRecipe, model: keras.Model) -> keras.Model:
    """The model to keep of a trained one, and to label with."""
    if isinstance(recipe, base.FastTeacherRecipe):
        return fast_teacher.published(model)
    return model


def builder(
    recipe: base.AnyTeacherRecipe, data: ImageData
) -> Callable[..., keras.Model]:
    """What builds the recipe's network; a fast one looks at the training images."""
    if isinstance(recipe, base.FastTeacherRecipe):
        return functools.partial(fast_teacher.build, images=data.train.images)
    return cnn_teacher.build
