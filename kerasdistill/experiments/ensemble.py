"""The super teacher: the mean of its members.

Both papers have one: docs/papers/urban2017.md and docs/papers/born-again.md.

Members are chosen by validation data alone; test data play no part.
"""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.models import ensemble, loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.running import steps
from kerasdistill.running.progress import bar
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from pipelines import checking
from pipelines.datasets import ImageData

KIND = "ensemble"  # of the run
STEP = "super teacher"
PAPER_SIZE = 16  # Urban et al. keep 16 of 129 teachers (docs/papers/urban2017.md)


def step(
    *,
    data: ImageData,
    workdir: str | Path,
    given: Sequence[str | Path] = (),
    trained: Sequence[str] = (),
    select: str = "all",
    size: int = PAPER_SIZE,
    averaging: str = "mean-logits",
    force: bool = False,
) -> Step:
    """The step that joins members into one model.

    Args:
        data: their data set; teachers with another class order or split are refused.
        workdir: where the run folder goes.
        given: `.keras` files, and
        trained: names of the steps whose models are candidates too.
        select: "all" keeps every candidate, "top" the `size` most accurate ones, as
            the paper does, and "greedy" chooses up to `size` by `greedy`.
        size: most members.
        averaging: how members become one, a name in `models.ensemble.AVERAGINGS`.
        force: accept teachers without a card that disagree with the labels.
    """

    @functools.cache
    def candidates(paths: tuple[Path, ...]) -> list[keras.Model]:
        if len({path.resolve() for path in paths}) != len(paths):
            raise UserError("a teacher is named twice; name every member once")
        models = [loading.load(path) for path in paths]
        how = {"data": data, "force": force, "tell": True}
        for model, path in zip(models, paths, strict=True):
            checking.check_teacher(model, path, **how)
        return models

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
        # "top" of no more candidates than its size is the request "all".
        if select == "greedy" or (select == "top" and size < len(models)):
            request |= {"select": select, "size": size}
        return RunDirectory.open(workdir, KIND, request)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        files = paths(before)
        say(f"{run.path}: scoring {len(files)} candidates")
        chosen_by = {"select": run.request.get("select", "all"), "size": size}
        how = {"run": run, "data": data, "averaging": averaging, **chosen_by}
        return _joined(candidates(files), [str(path) for path in files], **how)

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

    Options are those of `step`. With `only_plan`, says what is left and stops.

    Returns:
        The content of `results.json`.
    """
    joining = step(given=candidate_paths, data=data, workdir=workdir, **options)
    if only_plan:  # else a minute's work needs no line
        images = len(data.validation) + len(data.test)
        how = f"{len(candidate_paths)} candidates, {images:,} images"
        joining = replace(joining, cost=lambda run, before: Cost(None, how=how))
    return steps.run([joining], workdir=workdir, only_plan=only_plan).results[STEP]


def _joined(
    candidates: Sequence[keras.Model],
    paths: Sequence[str],
    *,
    run: RunDirectory,
    data: ImageData,
    select: str,
    size: int,
    averaging: str,
) -> dict[str, Any]:
    labels = data.validation.labels
    votes = _scored(candidates, data.validation.images)
    accuracies = [evaluation.accuracy(each, labels) for each in votes]
    if averaging != "mean-logits":
        votes = [evaluation.probabilities(each) for each in votes]
    chosen = list(range(len(paths)))
    if select == "top":
        chosen = top(accuracies, paths, size)
    elif select == "greedy":
        chosen = greedy(votes, labels, paths, size)
    model = ensemble.build([candidates[i] for i in chosen], averaging=averaging)
    mean = np.mean([votes[i] for i in chosen], axis=0)
    saved = cards.save_model(
        model,
        run.path,
        kind=KIND,
        class_names=data.class_names,
        dataset=data.identity(),
        recipe=run.request,
        # The largest value of the mean is at the ensemble's class.
        val_accuracy=evaluation.accuracy(mean, labels),
    )
    card = cards.read_card(saved)
    own_cards = [cards.read_card(paths[i]) for i in chosen]
    on_test = evaluation.predict(model, data.test.images)
    return {
        "kind": KIND,
        "model": str(saved),
        "members": [paths[i] for i in chosen],
        "member_recipes": [(own or {}).get("recipe") for own in own_cards],
        "member_val_accuracy": [accuracies[i] for i in chosen],
        "candidates": paths,
        "candidate_val_accuracy": accuracies,
        "select": select,
        "averaging": averaging,
        "num_params": card["num_params"],
        "val_accuracy": card["val_accuracy"],
        "test_accuracy": evaluation.accuracy(on_test, data.test.labels),
        "dataset": data.identity(),
    }


def _scored(candidates: Sequence[keras.Model], images: np.ndarray) -> list[np.ndarray]:
    """The logits of each candidate, [N, classes]."""
    logits = []
    with bar("scoring candidates", unit="candidate") as progress:
        for candidate in candidates:
            logits.append(evaluation.predict(candidate, images))
            progress(len(logits), len(candidates))
    return logits


def top(accuracies: Sequence[float], names: Sequence[str], size: int) -> list[int]:
    """Positions of the `size` most accurate candidates, best first: the paper's rule.

    Of equally accurate ones the name that sorts first wins.
    """
    ranked = sorted(range(len(names)), key=lambda i: (-accuracies[i], names[i]))
    return ranked[:size]


def greedy(
    votes: Sequence[np.ndarray], labels: np.ndarray, names: Sequence[str], size: int
) -> list[int]:
    """Forward selection: each time the candidate that helps the ensemble most.

    Begins with the most accurate candidate; every further one is the candidate not
    yet chosen whose votes, averaged with those of the chosen, give the highest
    validation accuracy. Ends at `size`, or as soon as no candidate makes the
    ensemble more accurate (Caruana et al., ICML 2004, without replacement, because
    members count alike in the mean).

    Args:
        votes: what is averaged of each candidate, on the validation images: logits
            or probabilities, [N, classes].
        labels: int64 [N].
        names: what breaks ties: the name that sorts first wins.
        size: most members.

    Returns:
        Positions of the chosen, in the order they were taken.
    """
    chosen: list[int] = []
    total, reached = np.zeros_like(votes[0]), -1.0
    while len(chosen) < min(size, len(names)):
        left = [i for i in range(len(names)) if i not in chosen]
        # The sum names the same classes as the mean.
        scores = {i: evaluation.accuracy(total + votes[i], labels) for i in left}
        best = min(left, key=lambda i: (-scores[i], names[i]))
        if scores[best] <= reached:
            break
        reached = scores[best]
        total = total + votes[best]
        chosen.append(best)
    return chosen
