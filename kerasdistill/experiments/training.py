"""What every training of an image model has in common: fit, score, save."""

import sys
from typing import Any

import keras

from kerasdistill import cards, devices, evaluation
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.distillation_models import (
    HardLabelModel,
    KnowledgeDistillationModel,
    LogitRegressionModel,
    StudentModel,
)
from kerasdistill.training.fit import EpochStream, FitResult, fit
from pipelines import live_views
from pipelines.datasets import ImageData


def shell(model: keras.Model, training: base.Training) -> StudentModel:
    """The model that trains `model` with the recipe's loss."""
    if training.loss == "kd":
        return KnowledgeDistillationModel(
            model, temperature=training.temperature, alpha=training.alpha
        )
    shells = {"hard-label": HardLabelModel, "logit-regression": LogitRegressionModel}
    return shells[training.loss](model)


def train(
    build: Any,
    recipe: base.Recipe,
    *,
    stream: EpochStream,
    data: ImageData,
    run: RunDirectory,
) -> tuple[keras.Model, FitResult]:
    """Builds and fits a model in the process's strategy; best epoch's weights."""
    training = recipe.training
    with devices.strategy().scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=training.seed,
            precision=training.precision,
        )
        wrapped = shell(model, training)
    print(f"{run.path}: {model.name}, {model.count_params():,} weights", file=sys.stderr)
    fitted = fit(
        wrapped,
        train=stream,
        validation=live_views.for_scoring(data.validation),
        training=training,
        directory=run.path,
    )
    return model, fitted


def publish(
    model: keras.Model,
    fitted: FitResult,
    recipe: base.Recipe,
    *,
    kind: str,
    data: ImageData,
    run: RunDirectory,
    **facts: Any,
) -> dict[str, Any]:
    """Scores validation and, for the only time, test; saves model and card.

    Returns:
        What `results.json` holds for every kind of training.
    """
    val_logits = evaluation.predict(model, data.validation.images)
    test_logits = evaluation.predict(model, data.test.images)
    results = {
        "val_accuracy": evaluation.accuracy(val_logits, data.validation.labels),
        "test_accuracy": evaluation.accuracy(test_logits, data.test.labels),
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "images_per_second": fitted.images_per_second,
        **facts,
    }
    path = cards.save_model(
        model,
        run.path,
        kind=kind,
        class_names=data.class_names,
        dataset=data.identity(),
        recipe=base.to_json(recipe),
        val_accuracy=results["val_accuracy"],
    )
    card = cards.read_card(path)
    return {
        "kind": kind,
        "model": str(path),
        "num_params": card["num_params"],
        "weights_digest": card["weights_digest"],
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "num_examples": {
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        **results,
    }
