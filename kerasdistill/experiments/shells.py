"""From a recipe to the model that trains: one place for training and for measuring."""

from collections.abc import Callable

import keras

from kerasdistill import devices
from kerasdistill.recipes import base
from kerasdistill.seeds import derive_seed
from kerasdistill.training.born_again_models import (
    BornAgainModel,
    BornAgainWithLabelsModel,
    ConfidenceWeightedModel,
    PermutedPredictionsModel,
)
from kerasdistill.training.distillation_models import (
    HardLabelModel,
    KnowledgeDistillationModel,
    LogitRegressionModel,
    StudentModel,
)
from pipelines.datasets import ImageData


def shell(model: keras.Model, training: base.Training) -> StudentModel:
    """The model that trains `model` with the recipe's loss."""
    clip = training.clip_norm
    if training.loss == "kd":
        return KnowledgeDistillationModel(
            model,
            temperature=training.temperature,
            alpha=training.alpha,
            clip_norm=clip,
        )
    if training.loss == "logit-regression":
        return LogitRegressionModel(model, clip_norm=clip)
    return HardLabelModel(
        model, label_smoothing=training.label_smoothing, clip_norm=clip
    )


def born_again_shell(
    model: keras.Model,
    training: base.BornAgainTraining,
    *,
    teacher: Callable | None = None,
) -> StudentModel:
    """The model that trains a generation with the recipe's loss.

    Args:
        model: the new generation.
        training: its loss, weights, temperature and seed.
        teacher: the generation before, for the signal `live`; None where batches
            bring the teacher's logits or the loss is of hard labels.
    """
    if training.loss == "hard-label":
        return shell(model, training)
    kind, options = {
        "ban": (BornAgainModel, {}),
        "ban+l": (
            BornAgainWithLabelsModel,
            {
                "label_weight": training.label_weight,
                "teacher_weight": training.teacher_weight,
            },
        ),
        "cwtm": (ConfidenceWeightedModel, {}),
        "dkpp": (
            PermutedPredictionsModel,
            {
                "permutation": training.permutation,
                "seed": derive_seed(training.seed, "permutations"),
            },
        ),
    }[training.loss]
    shared = {"temperature": training.temperature, "clip_norm": training.clip_norm}
    return kind(model, teacher=teacher, **options, **shared)


def built(
    build: Callable[..., keras.Model],
    recipe: base.Recipe,
    data: ImageData,
    *,
    wrap: Callable[[keras.Model, base.Training], StudentModel] = shell,
) -> StudentModel:
    """The recipe's shell around its model, in the process's strategy.

    `wrap` makes the shell of the model and the recipe's training.
    """
    with devices.strategy().scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=recipe.training.seed,
            precision=recipe.training.precision,
        )
        return wrap(model, recipe.training)
