"""A born-again run as the models it is made of, each like a run of its own."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill.recipes.older import training_of
from kerasdistill.reports.collect import Found

IMAGES, TEXT = "born-again", "language-model"


def models(runs: Iterable[Found]) -> dict[str, dict[str, Any]]:
    """Model file -> results of the language models among the runs."""
    return {
        str(Path(run.path).with_name("model.keras").resolve()): run.results
        for run in runs
        if run.results["kind"] == TEXT
    }


def parts(run: Found, known: Mapping[str, dict[str, Any]]) -> list[Found]:
    """The run itself, or the generations and ensembles of a born-again one.

    A generation's own folder, of another kind, says neither its number nor whose
    student it is; what it holds comes with the run that it belongs to. Language models
    are numbered by whose answers they learnt, looked up in `known` (see `models`).

    Raises:
        KeyError, TypeError: the results are not what a run writes.
    """
    results = run.results
    if results["kind"] == IMAGES:
        return list(_of_images(run))
    if results["kind"] == TEXT:
        return [replace(run, results={**results, "generation": _of_text(run, known)})]
    return [run]


def _of_images(run: Found) -> Iterator[Found]:
    results = run.results
    rest = {
        name: value
        for name, value in results.items()
        if name not in ("generations", "ensembles", "plan")
    }
    for row in results["generations"]:
        if row["loss"] is None:  # a teacher that was given: not a generation's
            continue
        recipe = rest["recipe"]
        training = training_of(recipe, loss=row["loss"]) | {"seed": rest["seed"]}
        made = {**rest, **row, "recipe": {**recipe, "training": training}}
        if row["loss"] == "hard-label":
            made["teacher_signal"] = None
        yield Found(run.path, made)
    for row in results["ensembles"]:
        yield Found(run.path, {**rest, **row, "ensemble": row["name"]})


def _of_text(run: Found, models: Mapping[str, dict[str, Any]]) -> int | None:
    """0 on labels, else one more than the teacher's; None where that isn't known."""
    results, seen = run.results, 0
    while (teachers := results.get("teachers")) and seen <= len(models):
        known = [models.get(str(Path(path).resolve())) for path in teachers]
        if len(known) != 1 or known[0] is None:
            return None
        results, seen = known[0], seen + 1
    return seen if _loss(results) == "hard-label" else None


def _loss(results: dict[str, Any]) -> str | None:
    return training_of(results.get("recipe") or {}).get("loss")
