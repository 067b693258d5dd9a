"""From a recipe to the model that trains: one place for training and for measuring."""

from collections.abc import Callable

import keras

from kerasdistill import devices
from kerasdistill.recipes import base
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


def built(
    build: Callable[..., keras.Model], recipe: base.Recipe, data: ImageData
) -> StudentModel:
    """The recipe's shell around its model, in the process's strategy."""
    with devices.strategy().scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=recipe.training.seed,
            precision=recipe.training.precision,
        )
        return shell(model, recipe.training)
