"""Runs of one recipe from several seeds as one measured value, with how it came about.

Runs that differ in anything but the seed are never averaged. Where a cell has several
such groups, the one with the best validation score is shown, as the paper does; test
scores choose nothing.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.files import digest_of
from kerasdistill.recipes import reading
from kerasdistill.recipes.older import training_of
from kerasdistill.reports import paper
from kerasdistill.reports.collect import Found
from kerasdistill.reports.generations import models, parts
from kerasdistill.reports.places import NoPlace, Place, places
from kerasdistill.requests import canonical

_SCORES = ("test_accuracy", "test_perplexity")


@dataclass(frozen=True)
class Placed:
    """A run's number in the unit of its table, and what it may be averaged with."""

    place: Place
    value: float
    validation: float  # greater is better
    group: str
    seed: int
    run: Found


def sort_out(
    runs: Iterable[Found],
) -> tuple[list[Placed], list[dict[str, Any]], list[str]]:
    """Placed numbers, the runs without a place and why, and what is no run's."""
    placed, others, problems = [], [], []
    runs = list(runs)
    known = models(runs)
    for run in runs:
        try:
            for part in parts(run, known):
                if part.results.keys().isdisjoint(_SCORES):
                    continue  # such as a distillation set
                try:
                    placed += _placed(part)
                except NoPlace as reason:
                    others.append(_other(part, str(reason)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(
                f"{run.path} is not what a run writes "
                f"({type(error).__name__}: {error}); left out"
            )
    return placed, others, problems


def _placed(run: Found) -> list[Placed]:
    cells = places(run.results)
    group, seed = _group(run.results), _seed(run.results)
    return [
        Placed(cell, *_scores(run.results, cell), group, seed, run) for cell in cells
    ]


def _other(run: Found, why: str) -> dict[str, Any]:
    scores = {name: _if_finite(run.results.get(name)) for name in _SCORES}
    return {"path": run.path, "kind": run.results["kind"], "why": why, **scores}


def _scores(results: dict[str, Any], place: Place) -> tuple[float, float]:
    """The value in the table's unit, and the validation score (greater is better)."""
    unit = {table.name: table.unit for table in paper.TABLES}[place.table]
    value = _number(results[place.score])
    if unit == "perplexity":
        return value, -_number(results["val_perplexity"])
    validation = _number(results["val_accuracy"])
    if not (0 <= value <= 1 and 0 <= validation <= 1):
        raise ValueError(f"an accuracy of {value} or {validation} is no fraction")
    return 100 * (1 - value if unit == "error" else value), validation


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def _if_finite(value: Any) -> float | None:
    """None for what is no number: a run without a place is told all the same."""
    try:
        return _number(value)
    except ValueError:
        return None


def _seed(results: dict[str, Any]) -> int:
    return (results.get("recipe") or {}).get("training", {}).get("seed", 0)


def _group(results: dict[str, Any]) -> str:
    """Equal for runs that differ in the seed alone."""
    recipe = dict(results.get("recipe") or {})
    if "training" in recipe:
        recipe["training"] = {**recipe["training"], "seed": 0}
        try:  # fields that are younger than the results had their defaults
            recipe = canonical({"": reading.from_json(recipe)})
        except UserError:
            recipe["training"] = {**training_of(recipe), "seed": 0}
    told = results.get("distillation_set") or {}
    return digest_of(
        {
            "kind": results["kind"],
            "recipe": recipe,
            "dataset": results.get("dataset"),
            "passes": told.get("passes"),
            "averaging": told.get("averaging"),
            "teachers": told.get("teachers"),
            "members": results.get("members"),
            # Of the second paper: whose student, how it was asked, which generation.
            "taught": [
                results.get(name)
                for name in ("teacher_arch", "teacher_signal", "generation", "ensemble")
            ],
            # The best of many trials is no fair draw beside runs of its recipe.
            "trials": results.get("max_trials"),
        }
    )


def cell(placed: Sequence[Placed]) -> dict[str, Any] | None:
    """One cell's measured value as JSON, None where nothing is measured.

    `mean` and `sd` (None for one seed) are in the table's unit, over `n` seeds;
    `epochs` and `passes` are beside it for the reader to judge; `others` counts the
    groups not shown.
    """
    groups: dict[str, dict[int, Placed]] = {}
    for each in placed:
        groups.setdefault(each.group, {}).setdefault(each.seed, each)
    if not groups:
        return None
    ranked = sorted(
        groups.values(),
        key=lambda group: statistics.mean(each.validation for each in group.values()),
    )
    shown = [ranked[-1][seed] for seed in sorted(ranked[-1])]
    values = [each.value for each in shown]
    return {
        "mean": statistics.mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        **told([each.run.results for each in shown]),
        "runs": [each.run.path for each in shown],
        "others": len(ranked) - 1,
    }


def told(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How long and on what runs of one recipe learnt; None where they don't say."""
    first = runs[0]
    members = [each or {} for each in first.get("member_recipes", ())]
    recipe = first.get("recipe") or (members[0] if members else {})
    training = training_of(recipe)
    # Of an ensemble's members it is known how long they were to train at most.
    asked = [each.get("training", {}).get("epochs") for each in members]
    stored = first.get("distillation_set") or {}
    teachers = stored.get("teachers")
    return {
        "epochs": sorted({n for n in (*map(_epochs, runs), *asked) if n}),
        "schedule": training.get("schedule"),
        "passes": stored.get("passes"),
        "teachers": len(teachers) if teachers else None,
        "members": len(members) or None,
        "trials": first.get("max_trials"),
        "precision": training.get("precision"),
        "kernel": recipe.get("architecture", {}).get("kernel"),
        "num_params": sorted(
            {run["num_params"] for run in runs if "num_params" in run}
        ),
        "on_labels": training.get("loss") == "hard-label",
    }


def _epochs(results: dict[str, Any]) -> int | None:
    return results.get("epochs")


def brief(measured: dict[str, Any]) -> str:
    """What has to stand beside the value: "n=3, 10 epochs, 16 passes"."""
    parts = [f"n={measured['n']}", *_lengths(measured)]
    return ", ".join(parts)


def _lengths(measured: dict[str, Any]) -> list[str]:
    parts = []
    if epochs := measured["epochs"]:
        span = str(epochs[0]) if len(epochs) == 1 else f"{epochs[0]}-{epochs[-1]}"
        parts.append(f"{span} epochs")
    elif measured["schedule"]:
        parts.append("epochs not told")
    if measured["passes"] is not None:
        parts.append(f"{measured['passes']} passes")
    elif measured["schedule"] and not measured["on_labels"]:
        parts.append("passes not told")
    return parts


def full(measured: dict[str, Any]) -> str:
    """All that is known of how the value came about, for a note."""
    n = measured["n"]
    parts = [f"{n} seed{'s' * (n != 1)}", *_lengths(measured)]
    if measured["schedule"]:
        parts.append(f"{measured['schedule']} schedule")
    if measured["teachers"]:
        count = measured["teachers"]
        parts.append(f"{count} teacher model{'s' * (count != 1)}")
    if measured["members"]:
        parts.append(f"{measured['members']} members")
    if measured["trials"]:
        parts.append(f"best of {measured['trials']} trials by validation")
    elif measured["schedule"] and not measured["members"]:
        parts.append("no search")
    if measured["precision"]:
        parts.append(str(measured["precision"]))
    if measured["kernel"] == 3:
        parts.append("3x3 filters")
    if count := measured["others"]:
        parts.append(f"{count} other setting{'s' * (count != 1)} measured too")
    return ", ".join(parts)
