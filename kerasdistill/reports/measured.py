"""Runs of one recipe from several seeds as one measured value, with how it came about.

Runs that differ in anything but the seed are never averaged. Where a cell has several
such groups, the one with the best validation score is shown, as the paper does; test
scores choose nothing.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.files import digest_of
from kerasdistill.recipes import reading
from kerasdistill.recipes.older import training_of
from kerasdistill.reports import paper
from kerasdistill.reports.cells import Cell, NoCell, cells_of
from kerasdistill.reports.collect import Found
from kerasdistill.reports.generations import models, parts
from kerasdistill.requests import canonical

_SCORES = ("test_accuracy", "test_perplexity")


@dataclass(frozen=True)
class Placed:
    """A run's number in the unit of its table, and what it may be averaged with."""

    value: float
    validation: float  # greater is better
    group: str  # equal for runs that differ in the seed alone
    seed: int
    run: Found


def sort_out(
    runs: Sequence[Found],
) -> tuple[dict[tuple[str, str, str], list[Placed]], list[dict[str, Any]], list[str]]:
    """Numbers by (table, row, column), the runs without a place and why, and what no
    run wrote."""
    placed: dict[tuple[str, str, str], list[Placed]] = {}
    others, problems = [], []
    teachers = models(runs)
    for run in runs:
        try:
            for part in parts(run, teachers):
                if part.results.keys().isdisjoint(_SCORES):
                    continue  # such as a distillation set
                try:
                    numbers = [(at, _placed(part, at)) for at in cells_of(part.results)]
                except NoCell as reason:
                    others.append(_other(part, str(reason)))
                    continue
                for at, number in numbers:
                    key = at.table, at.row, at.column
                    placed.setdefault(key, []).append(number)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(
                f"{run.path} is not what a run writes "
                f"({type(error).__name__}: {error}); left out"
            )
    return placed, others, problems


def _other(run: Found, why: str) -> dict[str, Any]:
    scores = {name: _if_finite(run.results.get(name)) for name in _SCORES}
    return {"path": run.path, "kind": run.results["kind"], "why": why, **scores}


def _placed(run: Found, place: Cell) -> Placed:
    results = run.results
    seed = (results.get("recipe") or {}).get("training", {}).get("seed", 0)
    unit = {table.name: table.unit for table in paper.TABLES}[place.table]
    value = _number(results[place.score])
    if unit == "perplexity":
        validation = -_number(results["val_perplexity"])
        return Placed(value, validation, _group(results), seed, run)
    validation = _number(results["val_accuracy"])
    if not (0 <= value <= 1 and 0 <= validation <= 1):
        raise ValueError(f"an accuracy of {value} or {validation} is no fraction")
    percent = 100 * (1 - value if unit == "error" else value)
    return Placed(percent, validation, _group(results), seed, run)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def _if_finite(value: Any) -> float | None:
    """None for what is no number: a run without a place is listed all the same."""
    try:
        return _number(value)
    except ValueError:
        return None


def _group(results: dict[str, Any]) -> str:
    recipe = dict(results.get("recipe") or {})
    if "training" in recipe:
        recipe["training"] = {**recipe["training"], "seed": 0}
        try:  # fields that are younger than the results had their defaults
            recipe = canonical({"": reading.from_json(recipe)})
        except UserError:
            recipe["training"] = {**training_of(recipe), "seed": 0}
    stored = results.get("distillation_set") or {}
    # Of the second paper: whose student, with which signal, which generation.
    second = ("teacher_arch", "teacher_signal", "generation", "ensemble")
    return digest_of(
        {
            **{name: results.get(name) for name in ("kind", "dataset", "members")},
            **{name: stored.get(name) for name in ("passes", "averaging", "teachers")},
            "recipe": recipe,
            "taught": [results.get(name) for name in second],
            # The best of many trials is no fair draw beside runs of its recipe.
            "trials": results.get("max_trials"),
        }
    )


def cell(placed: Sequence[Placed]) -> dict[str, Any]:
    """One cell's measured value as JSON, of one run or more.

    `mean` and `sd` (None for one seed) are in the table's unit, over `n` seeds;
    `epochs` and `passes` are beside it for the reader to judge; `others` counts the
    groups not shown.
    """
    groups: dict[str, dict[int, Placed]] = {}
    for each in placed:
        groups.setdefault(each.group, {}).setdefault(each.seed, each)
    # Of equals the last one.
    best = sorted(
        groups.values(),
        key=lambda group: statistics.mean(each.validation for each in group.values()),
    )[-1]
    shown = [best[seed] for seed in sorted(best)]
    values = [each.value for each in shown]
    return {
        "mean": statistics.mean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        **settings([each.run.results for each in shown]),
        "runs": [each.run.path for each in shown],
        "others": len(groups) - 1,
    }


def settings(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How long and on what runs of one recipe learnt; None where they don't say."""
    first = runs[0]
    members = [each or {} for each in first.get("member_recipes", ())]
    recipe = first.get("recipe") or (members[0] if members else {})
    training = training_of(recipe)
    # An ensemble's results have only the most epochs that a member was to train.
    epochs = [each.get("training", {}).get("epochs") for each in members]
    epochs += [run.get("epochs") for run in runs]
    stored = first.get("distillation_set") or {}
    return {
        "epochs": sorted(set(filter(None, epochs))),
        "schedule": training.get("schedule"),
        "passes": stored.get("passes"),
        "teachers": len(stored.get("teachers") or ()) or None,
        "members": len(members) or None,
        "trials": first.get("max_trials"),
        "precision": training.get("precision"),
        "kernel": recipe.get("architecture", {}).get("kernel"),
        "num_params": sorted(
            {run["num_params"] for run in runs if "num_params" in run}
        ),
        "on_labels": training.get("loss") == "hard-label",
    }


def brief(measured: dict[str, Any]) -> str:
    """What has to stand beside the value: "n=3, 10 epochs, 16 passes"."""
    return ", ".join([f"n={measured['n']}", *_lengths(measured)])


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
    """How the value came about, for a note."""
    parts = [_count(measured["n"], "seed"), *_lengths(measured)]
    if measured["schedule"]:
        parts.append(f"{measured['schedule']} schedule")
    if measured["teachers"]:
        parts.append(_count(measured["teachers"], "teacher model"))
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
    if measured["others"]:
        parts.append(f"{_count(measured['others'], 'other setting')} measured too")
    return ", ".join(parts)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
