"""From a recipe to the model that trains: one place for training and for measuring."""

from collections.abc import Callable

import keras

from kerasdistill import devices
from kerasdistill.models.build import build
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


def shell(
    model: keras.Model, training: base.Training, *, ask: Callable | None = None
) -> StudentModel:
    """The model that trains `model` with the recipe's loss.

    `ask` gives a live teacher's logits; None where batches bring them, or where the
    loss is of hard labels.
    """
    if isinstance(training, base.BornAgainTraining) and training.loss != "hard-label":
        return _born_again_shell(model, training, ask=ask)
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


def _born_again_shell(
    model: keras.Model, training: base.BornAgainTraining, *, ask: Callable | None
) -> StudentModel:
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
    return kind(model, teacher=ask, **options, **shared)


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
    with devices.scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=recipe.training.seed,
            precision=recipe.training.precision,
            images=data.train.images,
            teacher=teacher,
        )
        return shell(model, recipe.training, ask=ask)
