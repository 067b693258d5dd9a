"""The super teacher: the mean of its members (fact sheets A1 and B2)."""

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.experiments import selection
from kerasdistill.exports import cards
from kerasdistill.models import ensemble, loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.running import steps
from kerasdistill.running.progress import bar
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from pipelines import scoring
from pipelines.datasets import ImageData

STEP = "super teacher"


def step(
    *,
    data: ImageData,
    workdir: str | Path,
    given: Sequence[str | Path] = (),
    trained: Sequence[str] = (),
    select: str = "all",
    size: int = selection.PAPER_SIZE,
    averaging: str = "mean-logits",
    force: bool = False,
) -> Step:
    """The step that joins members into one model.

    Args:
        data: their data set; teachers with another class order or split are refused.
        workdir: where the run folder goes.
        given: `.keras` files, and
        trained: names of the steps whose models are candidates too.
        select: "all" keeps every candidate; "top" the `size` most accurate ones, as
            the paper does; "greedy" adds, up to `size`, the candidate that helps the
            ensemble most and stops when none does (`selection`). Ties go to the
            path that sorts first. Test data play no part.
        size: most members.
        averaging: how members become one, a name in `models.ensemble.AVERAGINGS`.
        force: accept teachers without a card that disagree with the labels.
    """

    @functools.cache
    def candidates(paths: tuple[Path, ...]) -> list[keras.Model]:
        if len({path.resolve() for path in paths}) != len(paths):
            raise UserError("a teacher is named twice; name every member once")
        return _loaded(paths, data=data, force=force)

    def paths(before: Results) -> tuple[Path, ...]:
        models = (before[each]["model"] for each in trained)
        return tuple(Path(path) for path in (*given, *models))

    def place(before: Results) -> RunDirectory:
        models = candidates(paths(before))
        request = {
            "members": [weights_digest(each) for each in models],
            "averaging": averaging,
            "dataset": data.identity(),
        }
        if select == "all" or (select == "top" and size >= len(models)):
            return RunDirectory.open(workdir, "ensemble", request)
        chosen_by = {"select": select, "size": size}
        return RunDirectory.open(workdir, "ensemble", request | chosen_by)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        files = paths(before)
        how = {"select": run.request.get("select", "all"), "size": size}
        return _joined(
            candidates(files), files, run=run, data=data, averaging=averaging, **how
        )

    return Step(STEP, place, work, needs=tuple(trained))


def run(
    candidate_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    only_plan: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Chooses members by validation accuracy, joins them into one model, scores it.

    Args:
        candidate_paths: `.keras` files.
        data: as for `step`, like workdir and the options.
        only_plan: say what is left and stop.

    Returns:
        The content of `results.json`.
    """
    joining = step(given=candidate_paths, data=data, workdir=workdir, **options)
    images = len(data.validation) + len(data.test)
    how = f"{len(candidate_paths)} candidates, {images:,} images"
    story = [joining]
    if only_plan:  # else a minute's work needs no line
        story = [replace(joining, cost=lambda run, before: Cost(None, how=how))]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[STEP]


def _joined(
    candidates: Sequence[keras.Model],
    paths: Sequence[Path],
    *,
    run: RunDirectory,
    data: ImageData,
    select: str,
    size: int,
    averaging: str,
) -> dict[str, Any]:
    print(f"{run.path}: scoring {len(paths)} candidates", file=sys.stderr)
    images, labels = data.validation.images, data.validation.labels
    logits = _scored(candidates, images)
    accuracies = [evaluation.accuracy(each, labels) for each in logits]
    votes = _votes(averaging, logits)
    chosen = _chosen(select, size, votes, labels, accuracies, paths)
    model = ensemble.build([candidates[i] for i in chosen], averaging=averaging)
    mean = np.mean([votes[i] for i in chosen], axis=0)
    saved = cards.save_model(
        model,
        run.path,
        kind="ensemble",
        class_names=data.class_names,
        dataset=data.identity(),
        recipe=run.request,
        val_accuracy=evaluation.accuracy(mean, labels),
    )
    card = cards.read_card(saved)
    on_test = evaluation.predict(model, data.test.images)
    return {
        "kind": "ensemble",
        "model": str(saved),
        "members": [str(paths[i]) for i in chosen],
        "member_recipes": [_recipe(paths[i]) for i in chosen],
        "member_val_accuracy": [accuracies[i] for i in chosen],
        "candidates": [str(path) for path in paths],
        "candidate_val_accuracy": accuracies,
        "select": select,
        "averaging": averaging,
        "num_params": card["num_params"],
        "val_accuracy": card["val_accuracy"],
        "test_accuracy": evaluation.accuracy(on_test, data.test.labels),
        "dataset": data.identity(),
    }


def _loaded(
    paths: Sequence[Path], *, data: ImageData, force: bool
) -> list[keras.Model]:
    candidates = [loading.load(path) for path in paths]
    for candidate, path in zip(candidates, paths, strict=True):
        scoring.check_teacher(candidate, path, data=data, force=force)
    return candidates


def _scored(candidates: Sequence[keras.Model], images: np.ndarray) -> list[np.ndarray]:
    logits = []
    with bar("scoring candidates", unit="candidate") as progress:
        for candidate in candidates:
            logits.append(evaluation.predict(candidate, images))
            progress(len(logits), len(candidates))
    return logits


def _recipe(path: Path) -> dict[str, Any] | None:
    """What its card says it was made by."""
    card = cards.read_card(path)
    return None if card is None else card.get("recipe")


def _votes(averaging: str, logits: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """What is averaged: the largest value of the mean is at the ensemble's class."""
    if averaging == "mean-logits":
        return logits
    return [evaluation.probabilities(each) for each in logits]


def _chosen(
    select: str,
    size: int,
    votes: Sequence[np.ndarray],
    labels: np.ndarray,
    accuracies: Sequence[float],
    paths: Sequence[Path],
) -> list[int]:
    names = [str(path) for path in paths]
    if select == "top":
        return selection.top(accuracies, names, size)
    if select == "greedy":
        return selection.greedy(votes, labels, names, size)
    return list(range(len(paths)))
