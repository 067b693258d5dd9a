"""A report as one HTML page that needs nothing else: no script, no other file."""

from collections.abc import Iterable
from html import escape
from typing import Any

from kerasdistill.reports import figure_one, overview, own_page, paper

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.45 system-ui, sans-serif; color: #1c1c1c; background: #fff;
  margin: 0 auto; padding: 0 1rem 3rem; max-width: 68rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
/* Shadows at the edges that hide more: a cover scrolls with the table, over them. */
.wide { overflow-x: auto; border: 1px solid #ddd; border-radius: 6px; background:
  linear-gradient(to left, #fff 40%, #fff0) right / 3rem 100% no-repeat local,
  linear-gradient(to left, #0004, #0000) right / .9rem 100% no-repeat scroll; }
.hint { display: none; margin: .2rem 0; color: #595959; font-size: .85rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid #e6e6e6; text-align: right;
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal;
  min-width: 8.5rem; max-width: 16rem; position: sticky; left: 0; background: #fff; }
thead th { background: #f4f5f7; } thead th:first-child { background: #f4f5f7; }
.ours { display: block; font-weight: 600; } .missing { color: #a33; font-weight: 400; }
.how { display: block; color: #595959; font-size: .78rem; white-space: normal;
  margin-left: auto; min-width: 6.6rem; max-width: 8rem; }
@media (max-width: 40rem) { th:first-child, td:first-child { max-width: 8rem; } }
@media (max-width: 28rem) { .hint { display: block; } }
.paper { display: block; color: #595959; }
.held { color: #17692f; } .not-held { color: #a3231f; }
.not-measured { color: #595959; }
li { margin: .3rem 0; overflow-wrap: anywhere; }
img { width: 100%; max-width: 36rem; height: auto; display: block; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
pre { background: #f4f5f7; padding: .6rem; overflow-x: auto; }
"""
_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src \
'none'; img-src data:; style-src 'unsafe-inline'">
<title>kerasdistill: report</title>
<style>{_STYLE}</style></head><body>"""
_HINT = '<p class="hint">scroll sideways for more columns &rarr;</p>'
_GUIDE = (
    "<h1>The papers' tables</h1><p>Each cell shows the published value, below it ours "
    "with n, the number of seeds (mean ± standard deviation for more than one), and "
    "how long it was trained; letters point to the notes. Runs of one recipe count "
    "together; of several recipes the one with the best validation score is shown.</p>"
)
_MANY = 4  # columns that a narrow window does not show side by side


def page(report: dict[str, Any]) -> str:
    """The whole page of an overview, see `overview.shown`; everything in it that came
    from a file is escaped.

    Raises:
        UserError: matplotlib, which draws the figure, is not installed.
    """
    unplaced = map(overview.unplaced_text, report["unplaced"])
    notes = (f"[{mark}] {text}" for mark, text in report["notes"].items())
    return "\n".join(
        [
            _HEAD,
            "<h1>kerasdistill: report</h1>",
            own_page.section(report["own_runs"]),
            _GUIDE if report["tables"] else "",
            *map(_table, report["tables"]),
            _section("Notes", notes),
            _orderings(report["orderings"]),
            _figure(report["figure"]),
            _section("Runs without a cell in these tables", unplaced),
            _section("Files left out", report["problems"]),
            "</body></html>\n",
        ]
    )


def _table(table: dict[str, Any]) -> str:
    heads = "".join(f'<th scope="col">{escape(each)}</th>' for each in table["columns"])
    rows = []
    for row in table["rows"]:
        params = f" ({row['params']})" if row["params"] else ""
        cells = "".join(map(_cell, row["cells"]))
        rows.append(
            f'<tr><th scope="row">{escape(row["label"] + params)}</th>{cells}</tr>'
        )
    return (
        f'<h2 id="{escape(table["name"])}">{escape(table["source"])}, '
        f"{escape(table['title'])}</h2><p>{escape(table['unit'])}</p>"
        f"{_HINT if len(table['columns']) >= _MANY else ''}"
        '<div class="wide" tabindex="0" role="region" '
        f'aria-labelledby="{escape(table["name"])}">'
        f'<table><thead><tr><th scope="col">network</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: dict[str, Any]) -> str:
    ours, settings = overview.measured_text(cell), overview.settings_text(cell)
    kind = "ours missing" if overview.is_missing(cell) else "ours"
    shown = f'<span class="paper">{escape(overview.published_text(cell))}</span>'
    if ours != "-" or settings:
        shown += f'<span class="{kind}">{escape(ours)}</span>'
    if settings:
        shown += f'<span class="how">{escape(settings)}</span>'
    return f"<td>{shown}</td>"


def _section(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if items else ""


def _orderings(orderings: list[dict[str, Any]]) -> str:
    items = "".join(
        f'<li><strong class="{each["status"].replace(" ", "-")}">'
        f"{escape(each['status'])}</strong>: {escape(each['claim'])} "
        f"({escape(overview.ordering_text(each))})</li>"
        for each in orderings
    )
    if not items:
        return ""
    return f"<h2>Orderings of {escape(paper.URBAN)}</h2><ul>{items}</ul>"


def _figure(figure: dict[str, Any]) -> str:
    if not (figure["points"] or figure["gaps"]):
        return ""
    what = "accuracy against parameters, published and measured"
    picture = own_page.picture(figure_one.drawn(figure["points"]), what)
    gaps = _section(
        "Compression gap at 10M (points above 0/1 labels)",
        map(overview.gap_text, figure["gaps"]),
    )
    points = _section(
        "Searches and single runs in the figure, validation accuracy in %",
        (
            f"{each['kind']}, {figure_one.LABELS[each['family']]}, "
            f"{each['num_params']:,} parameters: {overview.point_text(each)}"
            for each in figure["points"]
        ),
    )
    return (
        f"<h2>Figure 1 of {escape(paper.URBAN)}</h2>"
        "<p>Above: what its Tables 1 and 2 print. Below: ours; a line is the mean of a "
        "search's five best trials, dashed the best and the fifth best, a cross a "
        "single run; short lines are models on 0/1 labels, a star is the "
        f"{escape(figure_one.LABELS[paper.SNN])}.</p>"
        f"{picture}{gaps}{points}"
    )
