"""What every training of an image model has in common: fit, score, save."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import cards, evaluation, export
from kerasdistill.experiments import costs, plans
from kerasdistill.experiments.shells import built
from kerasdistill.models.build import published
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.fit import fit
from pipelines import live_views
from pipelines.datasets import ImageData


def run_directory(
    recipe: base.Recipe, *, kind: str, data: ImageData, workdir: str | Path
) -> RunDirectory:
    """Where a training on hard labels goes, or went."""
    request = {"recipe": base.to_json(recipe), "dataset": data.identity()}
    return RunDirectory.open(workdir, kind, request)


def on_hard_labels(
    recipe: base.Recipe,
    *,
    kind: str,
    data: ImageData,
    workdir: str | Path,
    planned: plans.Step | None = None,
    mirrored: bool = False,
) -> dict[str, Any]:
    """Trains a model on labels and views made on the fly, or finds the run that did.

    `mirrored` scores it on images with their mirror images too.

    Returns:
        The content of `results.json`. Its `planned_seconds` and `process_seconds`
        are of the process that finished the run: what it planned (here, or by
        `planned`) for what was left, and what it took.
    """
    with run_directory(recipe, kind=kind, data=data, workdir=workdir) as folder:
        if (found := folder.results()) is not None:
            return found
        stream = labelled_stream(recipe, kind=kind, data=data)
        made_of = {"stream": stream, "data": data, "run": folder}
        step = costs.announced(planned, kind, recipe, **made_of)
        began = time.monotonic()
        model, fitted = train(recipe, **made_of)
        model = published(recipe.architecture, model)
        results = publish(
            model,
            fitted,
            recipe,
            kind=kind,
            data=data,
            run=folder,
            mirrored=mirrored,
        )
        return folder.finish({**results, **plans.tell(step, since=began)})


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
    `enough` is `fit`'s, `ask` and `teacher` are those of `shells.built`.
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
