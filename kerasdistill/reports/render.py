"""A report's overview as text: terminal, Markdown, CSV or LaTeX."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from kerasdistill.reports import figure_one, paper
from kerasdistill.reports.overview import (
    gap_text,
    is_missing,
    measured_text,
    ordering_text,
    point_text,
    published_text,
    settings_text,
    unplaced_text,
)

_LABEL, _CELL = 20, 11  # characters that a row's label and a cell need at least
_STYLES = {"held": "green", "not held": "red", "not measured": "dim"}
_GUIDE = "published / measured; n: seeds, mean ± standard deviation; [a]: see the notes"


def terminal(found: dict[str, Any], *, width: int = 100, colour: bool = False) -> str:
    """Tables by rich, as wide as the terminal, with colours where it has them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
    )
    across = max(1, (width - _LABEL) // _CELL)
    for table in found["tables"]:
        heading = f"{table['source']}, {table['title']} - {table['unit']}"
        console.print(Text(heading, style="bold"), soft_wrap=True)
        for start in range(0, len(table["columns"]), across):
            console.print(_grid(table, slice(start, start + across)))
    console.print(Text("each cell: published, measured, how\n", style="dim"))
    for line in _rest(found):
        console.print(_styled(line), soft_wrap=True)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _grid(table: dict[str, Any], part: slice) -> Any:
    """Some columns of a table: what doesn't fit side by side is split, not cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("network", overflow="fold", max_width=36)
    for column in table["columns"][part]:
        shown.add_column(Text(column), justify="right", overflow="fold")
    for row in table["rows"]:
        label = row["label"] + (f" ({row['params']})" if row["params"] else "")
        shown.add_row(Text(label), *map(_stacked, row["cells"][part]))
    return shown


def _stacked(cell: dict[str, Any]) -> Any:
    from rich.text import Text

    text = Text(published_text(cell), style="dim")
    ours, settings = measured_text(cell), settings_text(cell)
    if ours != "-" or settings:
        text.append("\n" + ours, style="red" if is_missing(cell) else "bold")
    if settings:
        text.append("\n" + settings, style="dim")
    return text


def _styled(line: str) -> Any:
    from rich.text import Text

    text = Text(line)
    for status, style in _STYLES.items():
        text.highlight_regex(rf"^{status}:", style)
    return text


def _rest(found: dict[str, Any]) -> list[str]:
    """Notes, orderings, figure and what has no place, line by line."""
    lines = [f"[{mark}] {text}" for mark, text in found["notes"].items()]
    lines += ["", f"Orderings of {paper.URBAN}"]
    lines += [
        f"{each['status']}: {each['claim']} ({ordering_text(each)})"
        for each in found["orderings"]
    ]
    lines += ["", "Compression gap at 10M (points above 0/1 labels)"]
    lines += [
        f"{paper.FAMILIES[gap['family']]}: {gap_text(gap)}"
        for gap in found["figure"]["gaps"]
    ]
    if points := found["figure"]["points"]:
        lines += ["", "Figure 1, validation accuracy in %"]
        lines += [
            f"{point['kind']}, {figure_one.LABELS[point['family']]}, "
            f"{point['num_params']:,}: {point_text(point)}"
            for point in points
        ]
    if found["unplaced"]:
        lines += ["", "Runs without a cell in these tables"]
        lines += [unplaced_text(each) for each in found["unplaced"]]
    return lines


def markdown(found: dict[str, Any]) -> str:
    """Tables for a README: "published / measured (how)"."""
    lines = []
    for table in found["tables"]:
        heads = ["network", "parameters", *table["columns"]]
        lines += [
            f"## {_md(table['source'])}, {_md(table['title'])}",
            "",
            f"{_md(table['unit'])}; {_GUIDE}.",
            "",
            f"| {' | '.join(map(_md, heads))} |",
            "|---" * len(heads) + "|",
        ]
        for row in table["rows"]:
            cells = [_md(row["label"]), _md(row["params"])]
            cells += [_md(_side_by_side(cell)) for cell in row["cells"]]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for line in _rest(found):
        lines.append(f"- {_md(line)}" if line else "")
    return "\n".join(lines).rstrip()


def _side_by_side(cell: dict[str, Any]) -> str:
    settings = settings_text(cell)
    ours = measured_text(cell) + (f" ({settings})" if settings else "")
    return f"{published_text(cell)} / {ours}"


def _md(text: str) -> str:
    """Nothing in it is markup, nor ends the cell."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", " ".join(text.split()))


def comma_separated(found: dict[str, Any]) -> str:
    """One line a cell: table, row, column, published, and what was measured; then
    Figure 1's points, the compression gaps and the orderings as tables of their own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    heads = ("table", "row", "column", "unit", "published", "mean", "sd", "n")
    writer.writerow([*heads, "epochs", "passes", "status", "how"])
    for table in found["tables"]:
        for row in table["rows"]:
            for cell in row["cells"]:
                writer.writerow(_csv_cell(table, row, cell, found["notes"]))
    writer.writerows(map(_csv_point, found["figure"]["points"]))
    writer.writerows(map(_csv_gap, found["figure"]["gaps"]))
    for each in found["orderings"]:
        blank = [""] * 6
        writer.writerow(
            ["orderings", each["claim"], "", "", "held", "", "", *blank[:3]]
            + [each["status"], ordering_text(each)]
        )
    return buffer.getvalue().rstrip("\n")


def _csv_cell(
    table: dict[str, Any],
    row: dict[str, Any],
    cell: dict[str, Any],
    notes: dict[str, str],
) -> Sequence[Any]:
    start = [table["name"], row["label"], cell["column"], table["unit"]]
    start.append("" if cell["published"] is None else cell["published"])
    found = cell["measured"]
    if found is None:
        if cell["quoted"] is not None:
            return [*start, *[""] * 5, "quoted", notes[cell["mark"]]]
        status = "missing" if is_missing(cell) else "not printed"
        return [*start, *[""] * 5, status, ""]
    epochs = _span(found["epochs"])
    values = [f"{found['mean']:.4f}"]
    values.append("" if found["sd"] is None else f"{found['sd']:.4f}")
    passes = "" if found["passes"] is None else found["passes"]
    how = notes[cell["mark"]]
    return [*start, *values, found["n"], epochs, passes, "measured", how]


def _span(epochs: Sequence[int]) -> str:
    return "-".join(map(str, sorted({*epochs[:1], *epochs[-1:]})))


def _csv_point(point: dict[str, Any]) -> Sequence[Any]:
    """Of a search the mean of the five best stands as its value, told in the text."""
    how = point["how"]
    passes = "" if how["passes"] is None else how["passes"]
    name = f"{point['kind']}, {figure_one.LABELS[point['family']]}"
    start = ["urban-figure-1", name, point["num_params"], "validation accuracy, %", ""]
    value = f"{100 * figure_one.height(point):.4f}"
    n = "" if point["search"] else 1
    rest = [_span(how["epochs"]), passes, "measured", point_text(point)]
    return [*start, value, "", n, *rest]


def _csv_gap(gap: dict[str, Any]) -> Sequence[Any]:
    value, status = gap["measured"], "missing"
    if value is not None:
        value, status = f"{value:.4f}", "measured"
    start = ["urban-gaps", paper.FAMILIES[gap["family"]], "10M", "points"]
    values = [f"{gap['published']:.2f}", value, "", "", "", "", status]
    return [*start, *values, "student less its twin on 0/1 labels"]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}

# Never wider than the text, nor made larger to fill it; closed after the tabular.
_FITTED = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"


def latex(found: dict[str, Any]) -> str:
    """A table environment for each, made smaller where it is wider than the text."""
    lines = [r"% needs \usepackage{booktabs} and \usepackage{graphicx} (\resizebox)"]
    for table in found["tables"]:
        caption = f"{table['source']}, {table['title']}; {table['unit']}; {_GUIDE}"
        heads = ["network", "parameters", *table["columns"]]
        lines += [
            r"\begin{table}",
            rf"\caption{{{_tex(caption)}}}",
            _FITTED,
            rf"\begin{{tabular}}{{ll{'r' * len(table['columns'])}}}",
            r"\toprule",
            " & ".join(map(_tex, heads)) + r" \\",
            r"\midrule",
        ]
        for row in table["rows"]:
            cells = [row["label"], row["params"]]
            cells += [_side_by_side(cell) for cell in row["cells"]]
            lines.append(" & ".join(map(_tex, cells)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""]
    lines += [_tex(line) + r"\par" if line else "" for line in _rest(found)]
    return "\n".join(lines).rstrip()


def _tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
}
