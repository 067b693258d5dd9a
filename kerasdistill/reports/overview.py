"""All that is reported of many runs, as one JSON value that every format shows."""

import string
from collections.abc import Sequence
from typing import Any

from kerasdistill.reports import figure_one, measured, orderings, paper
from kerasdistill.reports.collect import Collected
from kerasdistill.reports.measured import Placed
from kerasdistill.reports.tables import MISSING

QUOTED = "quoted by the paper"


def overview(collected: Collected) -> dict[str, Any]:
    """Published next to measured, for every table; complete with no run at all.

    Returns:
        `tables` (each with `rows` of `cells`: `published`, `measured` as
        `measured.cell` tells it, `quoted` where the paper has a value from elsewhere,
        and the `mark` of a note), `notes` by mark, the
        first paper's `figure` (`points`, `gaps`) and `orderings`, the `unplaced`
        runs with why, `problems` with files, and how many `runs` there were.
    """
    placed, unplaced, problems = measured.sort_out(collected.runs)
    notes: dict[str, str] = {}  # text -> mark
    cells: dict[tuple[str, str, str], dict[str, Any]] = {}
    tables = [_table(table, placed, notes, cells) for table in paper.TABLES]
    points = figure_one.points(collected.runs)
    return {
        "runs": len(collected.runs),
        "tables": tables,
        "notes": {mark: text for text, mark in notes.items()},
        "figure": {"points": points, "gaps": figure_one.gaps(points)},
        "orderings": _orderings(cells),
        "unplaced": unplaced,
        "problems": [*collected.problems, *problems],
    }


def _table(
    table: paper.Table,
    placed: Sequence[Placed],
    notes: dict[str, str],
    cells: dict[tuple[str, str, str], dict[str, Any]],
) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        shown = []
        for column, published in zip(table.columns, row.values, strict=True):
            at = (table.name, row.key, column)
            here = [
                each
                for each in placed
                if (each.place.table, each.place.row, each.place.column) == at
            ]
            quoted = None if published is None else row.quoted
            shown.append(_cell(column, published, measured.cell(here), quoted, notes))
            if shown[-1]["measured"] is not None:
                cells[at] = shown[-1]["measured"]
        rows.append(
            {"key": row.key, "label": row.label, "params": row.params, "cells": shown}
        )
    return {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "unit": paper.UNITS[table.unit],
        "columns": list(table.columns),
        "rows": rows,
    }


def _cell(
    column: str,
    published: float | None,
    found: dict[str, Any] | None,
    quoted: str | None,
    notes: dict[str, str],
) -> dict[str, Any]:
    text = None
    if found is not None:
        text = measured.full(found)
    elif quoted is not None:
        text = f"{QUOTED} from {quoted}, no run fills it"
    return {
        "column": column,
        "published": published,
        "measured": found,
        "quoted": quoted,
        "mark": text and notes.setdefault(text, _mark(len(notes))),
    }


def _mark(count: int) -> str:
    """a, b, … z, aa, ab, …"""
    letters = string.ascii_lowercase
    first, last = divmod(count, len(letters))
    return (letters[first - 1] if first else "") + letters[last]


def _orderings(
    cells: dict[tuple[str, str, str], dict[str, Any]],
) -> list[dict[str, Any]]:
    def value(*at: str) -> float | None:
        return cells[at]["mean"] if at in cells else None

    found = orderings.check(value)
    for each in found:
        compared = [cells[at] for at in each.pop("cells") if at in cells]
        settings = {
            (tuple(cell["epochs"]), cell["schedule"], cell["passes"])
            for cell in compared
        }
        # Logits and labels never share passes; lengths alone are compared there.
        each["alike"] = len({lengths[:2] for lengths in settings}) <= 1
    return found


def published_text(cell: dict[str, Any], *, decimals: int = 2) -> str:
    """As printed; "-" where the paper prints none."""
    value = cell["published"]
    if value is None:
        return "-"
    text = f"{value:.{decimals}f}"
    return text[:-1] if text.endswith("0") else text  # the papers print 1 or 2


def is_missing(cell: dict[str, Any]) -> bool:
    """Whether a run could fill it and none has."""
    fillable = cell["published"] is not None and cell["quoted"] is None
    return cell["measured"] is None and fillable


def measured_text(cell: dict[str, Any]) -> str:
    """ "79.48 ± 0.21", "missing", or "-" where there is nothing to measure, or to
    compare with."""
    found = cell["measured"]
    if found is None:
        return MISSING if is_missing(cell) else "-"
    spread = "" if found["sd"] is None else f" ± {found['sd']:.2f}"
    return f"{found['mean']:.2f}{spread}"


def settings_text(cell: dict[str, Any]) -> str:
    """ "n=1, 10 epochs, 16 passes [a]", "quoted by the paper [b]", or nothing."""
    if cell["mark"] is None:
        return ""
    found = cell["measured"]
    return f"{QUOTED if found is None else measured.brief(found)} [{cell['mark']}]"


def ordering_text(found: dict[str, Any]) -> str:
    """What stands behind a status: how much was compared, and what failed."""
    text = f"{found['compared']} of {found['comparisons']} comparisons measured"
    if found["failed"]:
        text += f"; {len(found['failed'])} failed, such as {found['failed'][0]}"
    if found["compared"] and not found["alike"]:
        text += "; not all trained alike"
    return text


def gap_text(gap: dict[str, Any]) -> str:
    """ "published +2.70, ours +1.20"."""
    ours = MISSING if gap["measured"] is None else f"{gap['measured']:+.2f}"
    return f"published {gap['published']:+.2f}, ours {ours}"


def point_text(point: dict[str, Any]) -> str:
    """A search's, or single run's, place in the figure, for a list."""
    how = point["how"]
    epochs = how["epochs"][0] if how["epochs"] else "?"
    passes = how["passes"]
    passes = f", {passes} passes" if passes is not None else ""
    if not point["search"]:
        return f"{100 * point['val_accuracy']:.2f} ({epochs} epochs{passes}, no search)"
    mean, best, fifth = (100 * point[key] for key in figure_one.FIVE)
    cut = "".join(
        f", {what} cut to {point[key]:,}"
        for key, what in (
            ("objective_views", "epochs"),
            ("objective_images", "validation"),
        )
        if point[key] is not None
    )
    return (
        f"mean of five {mean:.2f}, best {best:.2f}, fifth {fifth:.2f} "
        f"({how['trials']} trials of {epochs} epochs{passes}{cut})"
    )


def unplaced_text(each: dict[str, Any]) -> str:
    """A run that has no cell, with its test score if it has one, and why."""
    parts = []
    if (accuracy := each["test_accuracy"]) is not None:
        parts.append(f"{100 * accuracy:.2f} %")
    if (perplexity := each["test_perplexity"]) is not None:
        parts.append(f"perplexity {perplexity:.2f}")
    return f"{each['path']}: {', '.join([*parts, each['why']])}"
