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


def parts(run: Found, by_file: Mapping[str, dict[str, Any]]) -> list[Found]:
    """The run itself, or the generations and ensembles of a born-again one.

    A generation's own folder, of another kind, says neither its number nor whose
    student it is; what it holds comes with the run that it belongs to. A language
    model's number is one more than its teacher's, looked up in `by_file`, of `models`.

    Raises:
        KeyError, TypeError: the results are not what a run writes.
    """
    results = run.results
    if results["kind"] == IMAGES:
        return list(_of_images(run))
    if results["kind"] == TEXT:
        generation = _of_text(results, by_file)
        return [replace(run, results={**results, "generation": generation})]
    return [run]


def _of_images(run: Found) -> Iterator[Found]:
    lists = ("generations", "ensembles", "plan")
    rest = {name: value for name, value in run.results.items() if name not in lists}
    for row in run.results["generations"]:
        if row["loss"] is None:  # a teacher that was given: not a generation's
            continue
        recipe = rest["recipe"]
        training = training_of(recipe, loss=row["loss"]) | {"seed": rest["seed"]}
        made = {**rest, **row, "recipe": {**recipe, "training": training}}
        if row["loss"] == "hard-label":
            made["teacher_signal"] = None
        yield Found(run.path, made)
    for row in run.results["ensembles"]:
        yield Found(run.path, {**rest, **row, "ensemble": row["name"]})


def _of_text(
    results: dict[str, Any], by_file: Mapping[str, dict[str, Any]]
) -> int | None:
    """0 on labels, else one more than the teacher's; None where that isn't known."""
    generation = 0
    while (teachers := results.get("teachers")) and generation <= len(by_file):
        if len(teachers) != 1:
            return None
        results = by_file.get(str(Path(teachers[0]).resolve()))
        if results is None:
            return None
        generation += 1
    loss = training_of(results.get("recipe") or {}).get("loss")
    return generation if loss == "hard-label" else None
