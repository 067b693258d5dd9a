"""What every training of an image model has in common: fit, score, save."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import evaluation
from kerasdistill.exports import cards
from kerasdistill.exports import saved_model as export
from kerasdistill.models import fast_layers
from kerasdistill.models.build import published
from kerasdistill.recipes import base
from kerasdistill.running import steps, timing
from kerasdistill.running.building import built
from kerasdistill.running.steps import Step
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.fit import fit
from pipelines.datasets import ImageData
from pipelines.views import live_views


def run_directory(
    recipe: base.Recipe, *, kind: str, data: ImageData, workdir: str | Path
) -> RunDirectory:
    """Where a training on hard labels goes, or went."""
    request = {"recipe": recipe, "dataset": data.identity()}
    return RunDirectory.open(workdir, kind, request)


def on_labels(
    recipe: base.Recipe,
    *,
    kind: str,
    data: ImageData,
    workdir: str | Path,
    name: str | None = None,
    mirrored: bool = False,
    meter: timing.Meter | None = None,
) -> Step:
    """The step that trains a model on labels and views made on the fly.

    Args:
        recipe: what to train.
        kind: of the run.
        data: its splits.
        workdir: where the run folder goes.
        name: of the step (None: the kind).
        mirrored: score it on images with their mirror images too.
        meter: of a story that measures many.
    """
    meter = meter or timing.Meter()
    stream = functools.partial(labelled_stream, kind=kind, data=data)

    def cost(run: RunDirectory | None, before: steps.Results) -> steps.Cost:
        speed = meter.speed(recipe, data=data, stream=stream)
        return timing.training_cost(recipe, speed=speed, data=data, run=run)

    def work(run: RunDirectory, before: steps.Results) -> dict[str, Any]:
        model, fitted = train(recipe, stream=stream(recipe), data=data, run=run)
        model = published(recipe.architecture, model)
        return publish(
            model, fitted, recipe, kind=kind, data=data, run=run, mirrored=mirrored
        )

    def stand_in(scratch: Path) -> dict[str, Any]:
        return {"model": save_untrained(recipe, scratch / f"{step.name}.keras", data)}

    step = Step(
        name=name or kind,
        place=lambda before: run_directory(
            recipe, kind=kind, data=data, workdir=workdir
        ),
        cost=cost,
        work=work,
        stand_in=None if meter.small else stand_in,
    )
    return step


def save_untrained(recipe: base.Recipe, path: Path, data: ImageData, **how: Any) -> str:
    """A network as fast as the trained one, for what is measured before there is any.

    `how` is that of `building.built`.
    """
    untrained = built(recipe, data, **how).student
    fast_layers.stock(published(recipe.architecture, untrained)).save(path)
    return str(path)


def labelled_stream(recipe: base.Recipe, *, kind: str, data: ImageData) -> EpochStream:
    """The training images' views, made on the fly, with labels."""
    return live_views.stream(
        data.train,
        augmentation=recipe.augmentation,
        seed=derive_seed(recipe.training.seed, f"{kind} views"),
        batch_size=recipe.training.batch_size,
    )


def train(
    recipe: base.Recipe,
    *,
    stream: EpochStream,
    data: ImageData,
    run: RunDirectory,
    teacher_logits: np.ndarray | None = None,
    enough: Callable[[Sequence[dict[str, float]]], bool] | None = None,
    ask: Callable | None = None,
    teacher: keras.Model | None = None,
) -> tuple[keras.Model, FitResult]:
    """Builds and fits a model in the process's strategy; best epoch's weights.

    With `teacher_logits`, the teacher's on the validation images, every epoch also
    tells the loss and the agreement there; the best epoch is chosen as without.
    `enough` is `fit`'s, `ask` and `teacher` are those of `building.built`.
    """
    wrapped = built(recipe, data, ask=ask, teacher=teacher)
    model = wrapped.student
    weights = f"{model.count_params():,} weights"
    print(f"{run.path}: {model.name}, {weights}", file=sys.stderr)
    fitted = fit(
        wrapped,
        train=stream,
        validation=live_views.for_scoring(
            data.validation, teacher_logits=teacher_logits
        ),
        training=recipe.training,
        directory=run.path,
        class_names=data.class_names,
        enough=enough,
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
    teacher_logits: np.ndarray | None = None,
    mirrored: bool = False,
    **facts: Any,
) -> dict[str, Any]:
    """Scores validation and, for the only time, test; saves the model in two forms.

    Args:
        model: with the weights to publish.
        fitted: how they came about.
        recipe: the request.
        kind: teacher, student or baseline.
        data: its validation and test splits are scored.
        run: where model.keras, saved_model/ and their cards go.
        teacher_logits: the teacher's on the validation images, [N, classes].
        mirrored: whether accuracies with mirror images are told as well.
        facts: further fields of the results.

    Returns:
        What `results.json` holds for every kind of training.
    """
    scores = _scores(model, data, teacher_logits=teacher_logits, mirrored=mirrored)
    path = cards.save_model(
        model,
        run.path,
        kind=kind,
        class_names=data.class_names,
        dataset=data.identity(),
        recipe=base.to_json(recipe),
        val_accuracy=scores["val_accuracy"],
    )
    card = cards.read_card(path)
    saved_model = run.path / "saved_model"
    parity = export.export_saved_model(
        model, saved_model, card=card, images=data.validation.images[:64]
    )
    return {
        "kind": kind,
        "model": str(path),
        "saved_model": str(saved_model),
        "parity": parity,
        "num_params": card["num_params"],
        "weights_digest": card["weights_digest"],
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "num_examples": {
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        **scores,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "images_per_second": fitted.images_per_second,
        "results": str(run.path / "results.json"),
        **facts,
    }


def _scores(
    model: keras.Model,
    data: ImageData,
    *,
    teacher_logits: np.ndarray | None,
    mirrored: bool,
) -> dict[str, float | None]:
    """What the model is worth; None where there are no labels, or no teacher."""
    scores = dict.fromkeys(("val_accuracy", "test_accuracy", "teacher_agreement"))
    logits = evaluation.predict(model, data.validation.images)
    if teacher_logits is not None:
        scores["teacher_agreement"] = evaluation.agreement(logits, teacher_logits)
    if not data.labelled:
        return scores
    on_test = evaluation.predict(model, data.test.images)
    for split, examples, found in (
        ("val", data.validation, logits),
        ("test", data.test, on_test),
    ):
        scores[f"{split}_accuracy"] = evaluation.accuracy(found, examples.labels)
        if mirrored:
            found = found + evaluation.predict(model, examples.images[:, :, ::-1])
            accuracy = evaluation.accuracy(found, examples.labels)
            scores[f"{split}_accuracy_mirrored"] = accuracy
    return scores
