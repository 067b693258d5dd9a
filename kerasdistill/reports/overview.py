"""All that is reported of many runs, as one JSON value that every format shows."""

import string
from typing import Any

from kerasdistill.reports import figure_one, measured, orderings, own, paper
from kerasdistill.reports.collect import Collected
from kerasdistill.reports.tables import MISSING

QUOTED = "quoted by the paper"
Cells = dict[tuple[str, str, str], dict[str, Any]]  # (table, row, column) -> measured


def overview(collected: Collected) -> dict[str, Any]:
    """The user's runs; published next to measured, for every table, complete with no
    run at all.

    Returns:
        `own_runs` of `own.rows`, `tables` (each with how many cells are `filled`, and
        `rows` of `cells`: `published`, `measured` from `measured.cell`, `quoted` where
        the paper has a value from elsewhere, and the `mark` of a note), `notes` by
        mark, the first paper's `figure` (`points`, `gaps`) and `orderings`, the
        `unplaced` runs with why, `problems` with files, and how many `runs` there were.
    """
    placed, unplaced, problems = measured.sort_out(collected.runs)
    cells = {at: measured.cell(runs) for at, runs in placed.items()}
    notes: dict[str, str] = {}  # text -> mark
    tables = [_table(table, cells, notes) for table in paper.TABLES]
    points = figure_one.points(collected.runs)
    return {
        "runs": len(collected.runs),
        "own_runs": own.rows(collected.runs),
        "tables": tables,
        "notes": {mark: text for text, mark in notes.items()},
        "figure": {"points": points, "gaps": figure_one.gaps(points)},
        "orderings": _orderings(cells),
        "unplaced": unplaced,
        "problems": [*collected.problems, *problems],
    }


def shown(report: dict[str, Any], *, papers: bool = False) -> dict[str, Any]:
    """What people see of an overview: of the papers, what some run has measured, or
    with `papers` all."""
    if papers:
        return report
    tables = [table for table in report["tables"] if table["filled"]]
    rows = [row for table in tables for row in table["rows"]]
    marks = {cell["mark"] for row in rows for cell in row["cells"]}
    figure = report["figure"]
    gaps = [gap for gap in figure["gaps"] if gap["measured"] is not None]
    return {
        **report,
        "tables": tables,
        "notes": {m: text for m, text in report["notes"].items() if m in marks},
        "figure": {"points": figure["points"], "gaps": gaps},
        "orderings": [each for each in report["orderings"] if each["compared"]],
        "unplaced": [],
    }


def _table(table: paper.Table, cells: Cells, notes: dict[str, str]) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        shown = []
        for column, published in zip(table.columns, row.values, strict=True):
            quoted = None if published is None else row.quoted
            value = cells.get((table.name, row.key, column))
            text = f"{QUOTED} from {quoted}, no run fills it" if quoted else None
            if value is not None:
                text = measured.full(value)
            shown.append(
                {
                    "column": column,
                    "published": published,
                    "measured": value,
                    "quoted": quoted,
                    "mark": text and notes.setdefault(text, _mark(len(notes))),
                }
            )
        rows.append(
            {"key": row.key, "label": row.label, "params": row.params, "cells": shown}
        )
    return {
        "name": table.name,
        "title": table.title,
        "source": table.source,
        "unit": paper.UNITS[table.unit],
        "columns": list(table.columns),
        "filled": sum(
            each["measured"] is not None for r in rows for each in r["cells"]
        ),
        "rows": rows,
    }


def _mark(count: int) -> str:
    """a, b, … z, aa, ab, …"""
    letters = string.ascii_lowercase
    first, last = divmod(count, len(letters))
    return (letters[first - 1] if first else "") + letters[last]


def _orderings(cells: Cells) -> list[dict[str, Any]]:
    checked = orderings.check(lambda *at: cells[at]["mean"] if at in cells else None)
    for each in checked:
        compared = [cells[at] for at in each.pop("cells") if at in cells]
        # Logits and labels never share passes; lengths alone are compared there.
        lengths = {(tuple(cell["epochs"]), cell["schedule"]) for cell in compared}
        each["alike"] = len(lengths) <= 1
    return checked


def published_text(cell: dict[str, Any]) -> str:
    """As printed; "-" where the paper prints none."""
    value = cell["published"]
    if value is None:
        return "-"
    text = f"{value:.2f}"
    return text[:-1] if text.endswith("0") else text  # the papers print 1 or 2


def is_missing(cell: dict[str, Any]) -> bool:
    """Whether a run could fill it and none has."""
    fillable = cell["published"] is not None and cell["quoted"] is None
    return cell["measured"] is None and fillable


def measured_text(cell: dict[str, Any]) -> str:
    """ "79.48 ± 0.21", "missing", or "-" where there is nothing to measure, or to
    compare with."""
    value = cell["measured"]
    if value is None:
        return MISSING if is_missing(cell) else "-"
    spread = "" if value["sd"] is None else f" ± {value['sd']:.2f}"
    return f"{value['mean']:.2f}{spread}"


def settings_text(cell: dict[str, Any]) -> str:
    """ "n=1, 10 epochs, 16 passes [a]", "quoted by the paper [b]", or nothing."""
    if cell["mark"] is None:
        return ""
    value = cell["measured"]
    return f"{QUOTED if value is None else measured.brief(value)} [{cell['mark']}]"


def ordering_text(ordering: dict[str, Any]) -> str:
    """What stands behind a status: how much was compared, and what failed."""
    text = f"{ordering['compared']} of {ordering['comparisons']} comparisons measured"
    if failed := ordering["failed"]:
        text += f"; {len(failed)} failed, such as {failed[0]}"
    if ordering["compared"] and not ordering["alike"]:
        text += "; not all trained alike"
    return text


def gap_text(gap: dict[str, Any]) -> str:
    """ "2 conv, 2 pool: published +2.70, ours +1.20"."""
    ours = MISSING if gap["measured"] is None else f"{gap['measured']:+.2f}"
    family = paper.FAMILIES[gap["family"]]
    return f"{family}: published {gap['published']:+.2f}, ours {ours}"


def point_text(point: dict[str, Any]) -> str:
    """A search's, or single run's, place in the figure, for a list."""
    how = point["how"]
    epochs = how["epochs"][0] if how["epochs"] else "?"
    passes = "" if how["passes"] is None else f", {how['passes']} passes"
    if not point["search"]:
        return f"{100 * point['val_accuracy']:.2f} ({epochs} epochs{passes}, no search)"
    mean, best, fifth = (100 * point[key] for key in figure_one.FIVE)
    cut = ""
    if (views := point["objective_views"]) is not None:
        cut += f", epochs cut to {views:,}"
    if (images := point["objective_images"]) is not None:
        cut += f", validation cut to {images:,}"
    return (
        f"mean of five {mean:.2f}, best {best:.2f}, fifth {fifth:.2f} "
        f"({how['trials']} trials of {epochs} epochs{passes}{cut})"
    )


def unplaced_text(run: dict[str, Any]) -> str:
    """A run that has no cell, with its test score if it has one, and why."""
    parts = []
    if (accuracy := run["test_accuracy"]) is not None:
        parts.append(f"{100 * accuracy:.2f} %")
    if (perplexity := run["test_perplexity"]) is not None:
        parts.append(f"perplexity {perplexity:.2f}")
    return f"{run['path']}: {', '.join([*parts, run['why']])}"
