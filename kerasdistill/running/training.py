"""What every training of an image model has in common: fit, score, save."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import boards, evaluation
from kerasdistill.exports import cards, model_card
from kerasdistill.exports import saved_model as export
from kerasdistill.models import fast_layers
from kerasdistill.models.build import published
from kerasdistill.models.summary import num_trainable
from kerasdistill.recipes import base, naming
from kerasdistill.running import steps, timing
from kerasdistill.running.building import built
from kerasdistill.running.steps import Step
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from kerasdistill.terminal import say
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.fit import fit
from pipelines.datasets import ImageData
from pipelines.views import live_views


@dataclass(frozen=True)
class Material:
    """What models learn from.

    Attributes:
        stream: gives a recipe's batches.
        ask: gives a live teacher's logits; None where batches bring them.
        teacher_logits: the teacher's on the validation images, [N, classes].
        facts: further fields of the results.
        reading: entered while batches are read.
    """

    stream: Callable[[Any], EpochStream]
    ask: Callable[..., Any] | None = None
    teacher_logits: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reading: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


def run_directory(
    recipe: base.Recipe,
    *,
    kind: str,
    data: ImageData,
    workdir: str | Path,
    older: base.Recipe | None = None,
    **more: Any,
) -> RunDirectory:
    """The folder of a training; `more` is what it learns from beside hard labels.

    `older` is what an older rule made of the same request: if only that training has
    begun, the folder is its. `trained_in` says which one a folder is of.
    """

    def folder(recipe: base.Recipe) -> RunDirectory:
        request = {"recipe": recipe, "dataset": data.identity(), **more}
        return RunDirectory.open(workdir, kind, request)

    run = folder(recipe)
    if older is not None and not run.begun and (before := folder(older)).begun:
        return before
    return run


def trained_in(run: RunDirectory) -> Any:
    """The recipe that a `run_directory` is of."""
    return run.given["recipe"]


def on_labels(
    recipe: base.Recipe,
    *,
    kind: str,
    data: ImageData,
    workdir: str | Path,
    older: base.Recipe | None = None,
    name: str | None = None,
    number: int | None = None,
    meter: timing.Meter | None = None,
) -> Step:
    """The step, by default named as its kind, that trains on labels and live views.

    `older` is that of `run_directory`, `number` that of `trained`, `meter` that of a
    story which measures many networks.
    """
    name, meter = name or kind, meter or timing.Meter()
    stream = functools.partial(labelled_stream, kind=kind, data=data)

    def place(before: steps.Results) -> RunDirectory:
        how = {"kind": kind, "data": data, "workdir": workdir, "older": older}
        return run_directory(recipe, **how)

    def cost(run: RunDirectory | None, before: steps.Results) -> steps.Cost:
        wanted = trained_in(run) if run else recipe
        speed = meter.speed(wanted, data=data, stream=stream)
        return timing.training_cost(wanted, speed=speed, data=data, run=run)

    def work(run: RunDirectory, before: steps.Results) -> dict[str, Any]:
        how = {"kind": kind, "data": data, "run": run, "number": number}
        return trained(trained_in(run), Material(stream), **how)

    def stand_in(scratch: Path) -> dict[str, Any]:
        return {"model": save_untrained(recipe, scratch / f"{name}.keras", data)}

    return Step(name, place, work, cost, stand_in=None if meter.small else stand_in)


def save_untrained(recipe: base.Recipe, path: Path, data: ImageData, **how: Any) -> str:
    """A network as fast as the trained one, for what is measured before there is any.

    `how` is that of `building.built`.
    """
    untrained = built(recipe, data, **how).student
    fast_layers.with_keras_layers(published(recipe.architecture, untrained)).save(path)
    return str(path)


def labelled_stream(recipe: base.Recipe, *, kind: str, data: ImageData) -> EpochStream:
    """The training images' views, made on the fly, with labels."""
    return live_views.stream(
        data.train,
        augmentation=recipe.augmentation,
        seed=derive_seed(recipe.training.seed, f"{kind} views"),
        batch_size=recipe.training.batch_size,
    )


def trained(
    recipe: base.Recipe,
    material: Material,
    *,
    kind: str,
    data: ImageData,
    run: RunDirectory,
    teacher: keras.Model | None = None,
    number: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Trains and publishes a model; `teacher` is that of `building.built`.

    `number` and `seed` are, for its name, a generation's and its chain's.
    """
    shared = {"data": data, "run": run, "teacher_logits": material.teacher_logits}
    name = kind if number is None else f"{kind}-{number}"
    how = {"ask": material.ask, "teacher": teacher, "name": name, "seed": seed}
    with material.reading():
        stream = material.stream(recipe)
        model, fitted = train(recipe, stream=stream, **how, **shared)
    model = published(recipe.architecture, model)
    return publish(model, fitted, recipe, kind=kind, **shared, **material.facts)


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
    board: Path | None = None,
    name: str | None = None,
    seed: int | None = None,
) -> tuple[keras.Model, FitResult]:
    """Builds and fits a model in the process's strategy; best epoch's weights.

    With `teacher_logits`, the teacher's on the validation images, every epoch also
    tells the loss and the agreement there; the best epoch is chosen as without.
    `enough` is `fit`'s, `ask` and `teacher` are those of `building.built`.
    TensorBoard's files go to `board`, by default to the run's own folder for them,
    whose name begins with `name` and ends with the `seed`.
    """
    shell = built(recipe, data, ask=ask, teacher=teacher)
    model, held_out = shell.student, data.validation
    weights = f"{model.count_params():,} weights"
    say(f"{run.path}: {model.name}, {weights}")
    if board is None:
        how = {"num_params": num_trainable(model), "seed": seed}
        readable = naming.name_of(name or "run", base.to_json(recipe), **how)
        board = boards.claim(run.path, readable)
    fitted = fit(
        shell,
        train=stream,
        validation=live_views.for_scoring(held_out, teacher_logits=teacher_logits),
        training=recipe.training,
        directory=run.path,
        class_names=data.class_names,
        board=board,
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
    **facts: Any,
) -> dict[str, Any]:
    """Scores validation and, for the only time, test; saves the model in two forms.

    A fast teacher is also scored by the mean of its logits of an image and of its
    mirror image.

    Returns:
        What `results.json` holds for every kind of training, and `facts`.
    """
    mirrored = isinstance(recipe, base.FastTeacherRecipe)
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
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    counts = {name: len(split) for name, split in splits.items()}
    known = {**facts, **scores, "num_examples": counts}
    card = model_card.with_results(cards.read_card(path), known)
    saved_model = run.path / "saved_model"
    how = {"images": data.validation.images[:64], "workdir": run.path.parent}
    parity = export.export_saved_model(model, saved_model, card=card, **how)
    return {
        "kind": kind,
        "model": str(path),
        "saved_model": str(saved_model),
        "parity": parity,
        "num_params": card["num_params"],
        "weights_digest": card["weights_digest"],
        "recipe": base.to_json(recipe),
        **_width_rule(recipe),
        "dataset": data.identity(),
        "num_classes": data.num_classes,
        "num_examples": counts,
        **scores,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "images_per_second": fitted.images_per_second,
        "history": fitted.curves,
        "results": str(run.path / "results.json"),
        **facts,
    }


def _width_rule(recipe: base.Recipe) -> dict[str, str]:
    """How a student's widths were chosen: its recipe leaves the older rule out."""
    rule = getattr(recipe.architecture, "width_rule", None)
    return {} if rule is None else {"width_rule": rule}


def _scores(
    model: keras.Model,
    data: ImageData,
    *,
    teacher_logits: np.ndarray | None,
    mirrored: bool,
) -> dict[str, float | None]:
    """What the model is worth; None where there are no labels, or no teacher."""
    scores = dict.fromkeys(("val_accuracy", "test_accuracy", "teacher_agreement"))
    on_validation = evaluation.predict(model, data.validation.images)
    if teacher_logits is not None:
        agreement = evaluation.agreement(on_validation, teacher_logits)
        scores["teacher_agreement"] = agreement
    if not data.labelled:
        return scores
    on_test = evaluation.predict(model, data.test.images)
    for split, examples, logits in (
        ("val", data.validation, on_validation),
        ("test", data.test, on_test),
    ):
        scores[f"{split}_accuracy"] = evaluation.accuracy(logits, examples.labels)
        if mirrored:
            both = logits + evaluation.predict(model, examples.images[:, :, ::-1])
            accuracy = evaluation.accuracy(both, examples.labels)
            scores[f"{split}_accuracy_mirrored"] = accuracy
    return scores
