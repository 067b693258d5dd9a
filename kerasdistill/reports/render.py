"""A report's overview as text: terminal, Markdown, CSV or LaTeX.

Each writes what is in it: see `overview.shown`.
"""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kerasdistill.reports import figure_one, overview, own_text, paper

_LABEL, _CELL = 20, 11  # characters that a row's label and a cell need at least
_COLUMNS = (
    *("table", "row", "column", "unit", "published", "mean", "sd", "n"),
    *("epochs", "passes", "status", "how"),
)
_STYLES = {"held": "green", "not held": "red", "not measured": "dim"}
_GUIDE = "published / measured; n: seeds, mean ± standard deviation; [a]: see the notes"


def terminal(report: dict[str, Any], *, width: int = 100, colour: bool = False) -> str:
    """Tables by rich, as wide as the terminal, with colours where it has them."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
    )
    for line, style in own_text.terminal(report["own_runs"], width=width):
        console.print(Text(line, style=style), soft_wrap=True)
    across = max(1, (width - _LABEL) // _CELL)
    for table in report["tables"]:
        heading = f"{table['source']}, {table['title']} - {table['unit']}"
        console.print(Text(heading, style="bold"), soft_wrap=True)
        for start in range(0, len(table["columns"]), across):
            console.print(_grid(table, slice(start, start + across)))
    if report["tables"]:
        console.print(Text("each cell: published, measured, how\n", style="dim"))
    for line in _rest(report):
        text = Text(line)
        for status, style in _STYLES.items():
            text.highlight_regex(rf"^{status}:", style)
        console.print(text, soft_wrap=True)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _grid(table: dict[str, Any], part: slice) -> Table:
    """Some columns of a table: what doesn't fit side by side is split, not cut."""
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("network", overflow="fold", max_width=36)
    for column in table["columns"][part]:
        shown.add_column(Text(column), justify="right", overflow="fold")
    for row in table["rows"]:
        label = row["label"] + (f" ({row['params']})" if row["params"] else "")
        shown.add_row(Text(label), *map(_stacked, row["cells"][part]))
    return shown


def _stacked(cell: dict[str, Any]) -> Text:
    text = Text(overview.published_text(cell), style="dim")
    ours, settings = overview.measured_text(cell), overview.settings_text(cell)
    if ours != "-" or settings:
        text.append("\n" + ours, style="red" if overview.is_missing(cell) else "bold")
    if settings:
        text.append("\n" + settings, style="dim")
    return text


def _rest(report: dict[str, Any]) -> list[str]:
    """Notes, orderings, figure and what has no place, line by line."""
    lines = [f"[{mark}] {text}" for mark, text in report["notes"].items()]
    if report["orderings"]:
        lines += ["", f"Orderings of {paper.URBAN}"]
    for each in report["orderings"]:
        lines.append(
            f"{each['status']}: {each['claim']} ({overview.ordering_text(each)})"
        )
    if report["figure"]["gaps"]:
        lines += ["", "Compression gap at 10M (points above 0/1 labels)"]
    lines += map(overview.gap_text, report["figure"]["gaps"])
    if points := report["figure"]["points"]:
        lines += ["", "Figure 1, validation accuracy in %"]
        for point in points:
            name = f"{_point_name(point)}, {point['num_params']:,}"
            lines.append(f"{name}: {overview.point_text(point)}")
    if report["unplaced"]:
        lines += ["", "Runs without a cell in these tables"]
        lines += map(overview.unplaced_text, report["unplaced"])
    return lines


def _point_name(point: dict[str, Any]) -> str:
    return f"{point['kind']}, {figure_one.LABELS[point['family']]}"


def _heads(table: dict[str, Any]) -> list[str]:
    return ["network", "parameters", *table["columns"]]


def _rows(table: dict[str, Any]) -> list[list[str]]:
    """Label, parameters and, for each cell, "published / measured (how)"."""
    return [
        [row["label"], row["params"], *map(_side_by_side, row["cells"])]
        for row in table["rows"]
    ]


def _side_by_side(cell: dict[str, Any]) -> str:
    settings = overview.settings_text(cell)
    ours = overview.measured_text(cell) + (f" ({settings})" if settings else "")
    return f"{overview.published_text(cell)} / {ours}"


def markdown(report: dict[str, Any]) -> str:
    """Tables for a README: "published / measured (how)"."""
    lines = [f"## {own_text.TITLE}", ""]
    heads, rows = own_text.table(report["own_runs"])
    lines += [*_md_table(heads, rows), ""] if rows else [own_text.NOTHING, ""]
    for table in report["tables"]:
        lines += [
            f"## {_md(table['source'])}, {_md(table['title'])}",
            "",
            f"{_md(table['unit'])}; {_GUIDE}.",
            "",
            *_md_table(_heads(table), _rows(table)),
            "",
        ]
    lines += [f"- {_md(line)}" if line else "" for line in _rest(report)]
    return "\n".join(lines).rstrip()


def _md_table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(map(_md, heads))} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(map(_md, row))} |" for row in rows),
    ]


def _md(text: str) -> str:
    """Nothing in it is markup, nor ends the cell."""
    return re.sub(r"([\\`*_\[\]<>|#&~])", r"\\\1", " ".join(text.split()))


def comma_separated(report: dict[str, Any]) -> str:
    """One line a score of an own run, one line a cell: table, row, column, published,
    and what was measured; then
    Figure 1's points, the compression gaps and the orderings as tables of their own."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(own_text.csv_lines(report["own_runs"]))
    for table in report["tables"]:
        for row in table["rows"]:
            line = {"table": table["name"], "row": row["label"], "unit": table["unit"]}
            for cell in row["cells"]:
                writer.writerow(line | _csv_cell(cell, report["notes"]))
    writer.writerows(map(_csv_point, report["figure"]["points"]))
    writer.writerows(map(_csv_gap, report["figure"]["gaps"]))
    for each in report["orderings"]:
        line = {"table": "orderings", "row": each["claim"], "published": "held"}
        writer.writerow(
            {**line, "status": each["status"], "how": overview.ordering_text(each)}
        )
    return buffer.getvalue().rstrip("\n")


def _csv_cell(cell: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    line = {
        "column": cell["column"],
        "published": cell["published"],
        "status": "missing" if overview.is_missing(cell) else "not printed",
        "how": notes.get(cell["mark"], ""),
    }
    if (value := cell["measured"]) is not None:
        line |= {"mean": _decimals(value["mean"]), "sd": _decimals(value["sd"])}
        line |= {"n": value["n"], "status": "measured", **_csv_lengths(value)}
    elif cell["quoted"] is not None:
        line["status"] = "quoted"
    return line


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _csv_lengths(how: dict[str, Any]) -> dict[str, Any]:
    epochs = how["epochs"]
    span = "-".join(map(str, sorted({*epochs[:1], *epochs[-1:]})))
    return {"epochs": span, "passes": how["passes"]}


def _csv_point(point: dict[str, Any]) -> dict[str, Any]:
    """A search's value is the mean of its five best, as its text says."""
    return {
        "table": "urban-figure-1",
        "row": _point_name(point),
        "column": point["num_params"],
        "unit": "validation accuracy, %",
        "mean": _decimals(100 * figure_one.height(point)),
        "n": "" if point["search"] else 1,
        **_csv_lengths(point["how"]),
        "status": "measured",
        "how": overview.point_text(point),
    }


def _csv_gap(gap: dict[str, Any]) -> dict[str, Any]:
    return {
        "table": "urban-gaps",
        "row": paper.FAMILIES[gap["family"]],
        "column": "10M",
        "unit": "points",
        "published": f"{gap['published']:.2f}",
        "mean": _decimals(gap["measured"]),
        "status": "missing" if gap["measured"] is None else "measured",
        "how": "student less its twin on 0/1 labels",
    }


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


def latex(report: dict[str, Any]) -> str:
    """A table environment for each, made smaller where it is wider than the text."""
    lines = [r"% needs \usepackage{booktabs} and \usepackage{graphicx} (\resizebox)"]
    heads, rows = own_text.table(report["own_runs"])
    if rows:
        lines += _tex_table(own_text.TITLE, heads, rows, numbers=len(heads) - 1)
    for table in report["tables"]:
        caption = f"{table['source']}, {table['title']}; {table['unit']}; {_GUIDE}"
        numbers = len(table["columns"])
        lines += _tex_table(caption, _heads(table), _rows(table), numbers=numbers)
    lines += [_tex(line) + r"\par" if line else "" for line in _rest(report)]
    return "\n".join(lines).rstrip()


def _tex_table(
    caption: str, heads: list[str], rows: list[list[str]], *, numbers: int
) -> list[str]:
    """The last columns, so many, are numbers."""
    head, *body = (" & ".join(map(_tex, row)) + r" \\" for row in (heads, *rows))
    return [
        r"\begin{table}",
        rf"\caption{{{_tex(caption)}}}",
        _FITTED,
        rf"\begin{{tabular}}{{{'l' * (len(heads) - numbers)}{'r' * numbers}}}",
        *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
        *(r"\end{tabular}}", r"\end{table}", ""),
    ]


def _tex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "terminal": terminal,
    "markdown": markdown,
    "csv": comma_separated,
    "latex": latex,
}
