"""From a recipe to the model that trains: one place for training and for measuring."""

from collections.abc import Callable

import keras

from kerasdistill.models.build import build
from kerasdistill.recipes import base
from kerasdistill.seeds import derive_seed
from kerasdistill.training import engines
from kerasdistill.training.distillation_models import StudentModel
from pipelines.checking import check_student
from pipelines.datasets import ImageData


def shell(
    model: keras.Model, training: base.Training, *, ask: Callable | None = None
) -> StudentModel:
    """The model that trains `model` by the recipe's objective.

    `ask` gives a live teacher's logits; None where batches bring them. An objective
    without a teacher does not use it.
    """
    return StudentModel(
        model,
        training.objective,
        teacher=ask if training.objective.learns_from_teacher else None,
        seed=derive_seed(training.seed, "permutations"),
        clip_norm=training.clip_norm,
    )


def built(
    recipe: base.Recipe,
    data: ImageData,
    *,
    ask: Callable | None = None,
    teacher: keras.Model | None = None,
) -> StudentModel:
    """The recipe's shell around its network, in the process's strategy.

    `ask` is that of `shell`, `teacher` that of `models.build`.
    """
    with engines.current().scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=recipe.training.seed,
            precision=recipe.training.precision,
            images=data.train.images,
            teacher=teacher,
        )
        if isinstance(recipe.architecture, base.GivenNetwork):
            check_student(model, recipe.architecture.source, data=data)
        return shell(model, recipe.training, ask=ask)
