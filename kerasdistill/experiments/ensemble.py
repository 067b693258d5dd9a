"""The super teacher: the mean of its members (fact sheets A1 and B2)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import cards, evaluation
from kerasdistill.errors import UserError
from kerasdistill.experiments import selection
from kerasdistill.experiments.bars import bar
from kerasdistill.models import ensemble, loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.runs import RunDirectory
from pipelines import scoring
from pipelines.datasets import ImageData


def run(
    candidate_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    select: str = "all",
    size: int = selection.PAPER_SIZE,
    averaging: str = "mean-logits",
    force: bool = False,
) -> dict[str, Any]:
    """Chooses members by validation accuracy, joins them into one model, scores it.

    Args:
        candidate_paths: `.keras` files.
        data: their data set; teachers with another class order or split are refused.
        workdir: where the run folder goes.
        select: "all" keeps every candidate; "top" the `size` most accurate ones, as
            the paper does; "greedy" adds, up to `size`, the candidate that helps the
            ensemble most and stops when none does (`selection`). Ties go to the
            path that sorts first. Test data play no part.
        size: most members.
        averaging: how members become one, a name in `models.ensemble.AVERAGINGS`.
        force: accept teachers without a card that disagree with the labels.

    Returns:
        The content of `results.json`.
    """
    paths = [Path(path) for path in candidate_paths]
    if len({path.resolve() for path in paths}) != len(paths):
        raise UserError("a teacher is named twice; name every member once")
    candidates = _loaded(paths, data=data, force=force)
    if select == "top" and size >= len(paths):
        select = "all"
    digests = [weights_digest(each) for each in candidates]
    request = {"members": digests, "averaging": averaging, "dataset": data.identity()}
    if select != "all":
        request |= {"select": select, "size": size}
    with RunDirectory.open(workdir, "ensemble", request) as folder:
        if (found := folder.results()) is not None:
            return found
        print(f"{folder.path}: scoring {len(paths)} candidates", file=sys.stderr)
        images, labels = data.validation.images, data.validation.labels
        logits = _scored(candidates, images)
        accuracies = [evaluation.accuracy(each, labels) for each in logits]
        votes = _votes(averaging, logits)
        chosen = _chosen(select, size, votes, labels, accuracies, paths)
        model = ensemble.build([candidates[i] for i in chosen], averaging=averaging)
        mean = np.mean([votes[i] for i in chosen], axis=0)
        saved = cards.save_model(
            model,
            folder.path,
            kind="ensemble",
            class_names=data.class_names,
            dataset=data.identity(),
            recipe=request,
            val_accuracy=evaluation.accuracy(mean, labels),
        )
        card = cards.read_card(saved)
        on_test = evaluation.predict(model, data.test.images)
        return folder.finish(
            {
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
        )


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
