"""Pictures of the user's own runs, drawn by `plots`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kerasdistill.recipes import naming
from kerasdistill.reports import plots
from kerasdistill.reports.tables import finite

_MOST_PANELS = 6
_TICKS = 9
_NAMED = 14  # points that have their names beside them
_MARKERS = {"teacher": "^", "ensemble": "D", "baseline": "s", "student": "o"}
_AXES = {"accuracy": "accuracy [%]", "perplexity": "perplexity"}


def points(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list]:
    """Rows with weights and a score by (data set, what the score is), the fullest
    first; each with its score: on test, or validation where test was not looked at."""
    found: dict[tuple[str, str], list] = {}
    for row in rows:
        for name in _AXES:
            score = row[f"test_{name}"]
            score = row[f"val_{name}"] if score is None else score
            if score is not None and (row["num_params"] or 0) > 0:
                scale = 100 if name == "accuracy" else 1
                key = (row["dataset"] or "-", name)
                found.setdefault(key, []).append((row, scale * score))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def against_weights(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A panel for each data set: score against the number of weights; a thin line
    leads from a baseline to the student of its network. None without any point."""
    panels = list(points(rows).items())[:_MOST_PANELS]
    if not panels:
        return None
    figure = plots.figure(7.2, 4.2 * len(panels))
    all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for axes, ((dataset, name), placed) in zip(all_axes, panels, strict=True):
        _panel(axes, placed, kinds)
        axes.set_title(_plain(dataset), fontsize=10)
        axes.set_ylabel(_AXES[name], fontsize=9)
        axes.set_xlabel("weights", fontsize=9)
    return figure


def _panel(axes: Any, placed: Sequence[tuple], kinds: Sequence[str]) -> None:
    heights = {row["readable_name"]: (row["num_params"], at) for row, at in placed}
    for kind in dict.fromkeys(row["kind"] for row, _ in placed):
        mine = [(row["num_params"], at) for row, at in placed if row["kind"] == kind]
        look = {"color": plots.colour(kinds.index(kind)), "s": 34, "label": kind}
        axes.scatter(*zip(*mine, strict=True), marker=_MARKERS.get(kind, "o"), **look)
    for row, at in placed:
        twin = heights.get((row["baseline"] or {}).get("readable_name"))
        if twin is not None:
            ends = zip(twin, (row["num_params"], at), strict=True)
            axes.plot(*ends, color="#999999", linewidth=0.8, zorder=0)
    if len(placed) <= _NAMED:
        ordered = sorted(placed, key=lambda each: each[1])
        for number, (row, at) in enumerate(ordered):
            # Of two that lie close together, one above and one below.
            look = {"xytext": (6, 4 if number % 2 else -9), "fontsize": 7}
            look["textcoords"] = "offset points"
            axes.annotate(_plain(row["readable_name"]), (row["num_params"], at), **look)
    _counts(axes, [row["num_params"] for row, _ in placed], named=len(placed) <= _NAMED)
    axes.margins(y=0.12)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


def _counts(axes: Any, counts: Sequence[int], *, named: bool) -> None:
    """A logarithmic axis with room on the right for names, and round numbers."""
    low, high = min(counts), max(counts)
    spread = max(high / low, 4.0)
    low, high = low / spread**0.1, high * spread ** (0.6 if named else 0.1)
    decades = range(int(math.log10(low)) - 1, int(math.log10(high)) + 2)
    ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) > _TICKS:
        ticks = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [naming.rounded(round(tick)) for tick in ticks])
    axes.set_xticks([], minor=True)


def learning_curve(row: Mapping[str, Any]) -> Any:
    """What an epoch brought, on training and validation data; None without any."""
    history = [each for each in row["history"] if isinstance(each, Mapping)]
    for name in ("accuracy", "perplexity", "teacher_agreement"):
        curves = {
            label: [
                (each.get("epoch"), scale * each[key])
                for each in history
                if finite(each.get(key)) is not None and each.get("epoch")
            ]
            for label, key, scale in _curves(name)
        }
        if curves["validation"]:
            break
    else:
        return None
    figure = plots.figure(6.0, 3.0)
    axes = figure.subplots()
    for number, (label, curve) in enumerate(curves.items()):
        if curve:
            look = {"color": plots.colour(number), "label": label, "markersize": 3}
            axes.plot(*zip(*curve, strict=True), "o-", **look)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(_AXES.get(name, "agreement with the teacher [%]"), fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    return figure


def _curves(name: str) -> list[tuple[str, str, float]]:
    scale = 1.0 if name == "perplexity" else 100.0
    return [("training", name, scale), ("validation", f"val_{name}", scale)]


def _plain(text: str) -> str:
    """Without matplotlib's mathematics: names are not formulas."""
    return text.replace("$", r"\$")
