"""The user's own runs as text: terminal, Markdown, CSV or LaTeX."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kerasdistill.reports import own, own_words, tables

TITLE = "Your runs"
NOTHING = "no finished run yet"
_MOST = 40  # rows on a terminal
_HEADS = ("validation", "test", "weights", "size", "labels alone", "agreement")


def terminal(
    rows: Sequence[Mapping[str, Any]], *, width: int
) -> Iterator[tuple[str, str]]:
    """Lines with their styles: a table for each data set, best runs first; of very
    many the best of each."""
    if not rows:
        yield NOTHING, ""
    groups = [list(group) for _, group in itertools.groupby(rows, _dataset)]
    each = max(3, _MOST // max(1, len(groups)))
    for group in groups:
        texts = all(row["val_perplexity"] is not None for row in group)
        title = _dataset(group[0]) + (", perplexity" if texts else "")
        yield f"{TITLE} on {title}", "bold"
        yield from _grid(group[:each], width)
        if len(group) > each:
            more = f"and {len(group) - each} more: `html` or `format=csv` shows all"
            yield more, "dim"
        yield "", ""


def _dataset(row: Mapping[str, Any]) -> str:
    return row["dataset"] or "other data"


def _grid(rows: Sequence[Mapping[str, Any]], width: int) -> Iterator[tuple[str, str]]:
    numbers = []
    for row in rows:
        cells = dict(zip(own_words.HEADS, own_words.cells(row), strict=True))
        numbers.append([cells[head].removeprefix("perplexity ") for head in _HEADS])
    named = [row["readable_name"] for row in rows]
    lines = _lines(["run", *named], numbers)
    if narrow := max(map(len, lines)) > width:  # then names have lines of their own
        lines = _lines(["" for _ in lines], numbers)
    yield lines[0], "dim"
    for row, line in zip(rows, lines[1:], strict=True):
        if narrow:
            yield row["readable_name"], ""
        yield line, ""
        if (teacher := row["teacher"]) is not None:
            who = teacher["readable_name"] or "its teacher"
            yield f"    from {who}, {own_words.best_score(teacher)}", "dim"
        if row["members"]:
            yield f"    mean of {', '.join(row['members'])}", "dim"


def _lines(named: Sequence[str], numbers: Sequence[Sequence[str]]) -> list[str]:
    both = zip(named, [_HEADS, *numbers], strict=True)
    head, *rows = ([name, *cells] for name, cells in both)
    return tables.table(head, rows)


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Heads, and cells for each run."""
    return list(own_words.HEADS), list(map(own_words.cells, rows))


def csv_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A line for each score of each run, in the columns of the papers' tables."""
    for row in rows:
        line = {"table": "runs", "row": row["readable_name"], "epochs": row["epochs"]}
        line |= {"status": "measured", "how": row["path"], "n": 1}
        teacher, twin = row["teacher"] or {}, row["baseline"] or {}
        for name in own.SCORES:
            sources = {"": row, "teacher_": teacher, "baseline_": twin}
            for prefix, source in sources.items():
                if (value := source.get(name)) is not None:
                    unit = name.partition("_")[2]
                    mean = f"{value:.4f}"
                    yield {**line, "column": prefix + name, "unit": unit, "mean": mean}
        for name in ("num_params", "bytes", "teacher_agreement"):
            if row[name] is not None:
                yield {**line, "column": name, "mean": row[name]}
