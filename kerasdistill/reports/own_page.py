"""The user's own runs as a part of the report's page."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kerasdistill.reports import own_plots, own_text, own_words, plots

_IN_FULL = 12  # runs that have a part of their own, with a learning curve


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of all runs, the picture, and what each of the best was and leads to."""
    if not rows:
        return f"<h2>{own_text.TITLE}</h2><p>{own_text.NOTHING}</p>"
    heads, lines = own_text.table(rows)
    drawn = own_plots.against_weights(rows)
    return "".join(
        [
            f'<h2 id="own-runs">{own_text.TITLE}</h2>',
            _table(heads, lines),
            picture(drawn, "score against weights") if drawn is not None else "",
            *(_run(row, alone=len(rows) == 1) for row in rows[:_IN_FULL]),
            f"<p>{len(rows)} runs; the first {_IN_FULL} are shown in full.</p>"
            if len(rows) > _IN_FULL
            else "",
        ]
    )


def picture(figure: Any, what: str) -> str:
    """A figure inside the page."""
    drawn = base64.b64encode(plots.as_svg(figure)).decode()
    return f'<img alt="{escape(what)}" src="data:image/svg+xml;base64,{drawn}">'


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = []
    for name, *cells in lines:
        rest = "".join(f"<td>{escape(each)}</td>" for each in cells)
        body.append(f'<tr><th scope="row">{escape(name)}</th>{rest}</tr>')
    return (
        '<p class="hint">scroll sideways for more columns &rarr;</p>'
        '<div class="wide" tabindex="0" role="region" aria-labelledby="own-runs">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        "</div>"
    )


def _run(row: Mapping[str, Any], *, alone: bool) -> str:
    words = "".join(f"<li>{escape(line)}</li>" for line in own_words.what(row))
    curve = own_plots.learning_curve(row)
    shown = picture(curve, "learning curve") if curve is not None else ""
    next_lines = "\n".join(row.get("next", ()))
    commands = f"<p>Next:</p><pre>{escape(next_lines)}</pre>" if next_lines else ""
    return (
        f"<details{' open' if alone else ''}><summary>{escape(row['readable_name'])}"
        f"</summary><ul>{words}</ul>{shown}{commands}</details>"
    )
