"""Pictures of reports; the only module that imports matplotlib, on use."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill import packages
from kerasdistill.errors import UserError
from kerasdistill.files import write_atomic
from kerasdistill.reports.search import Dimension, Search, best_so_far

_COLUMNS = 4
_PANEL_INCHES = (3.1, 2.4)
_COLOURS = ("#1f77b4", "#d95f02", "#2a9d5c", "#9350a1", "#8c564b", "#c23b75")
_COLOURS += ("#1b9e9e", "#b8860b", "#555555")
_DPI = 110


def available() -> bool:
    """Whether matplotlib is installed."""
    return packages.is_installed("matplotlib")


def require() -> None:
    """UserError in one line if matplotlib is not installed."""
    packages.require("matplotlib", by="a picture")


def figure(width: float, height: float, *, layout: str = "constrained") -> Any:
    """An empty matplotlib figure of so many inches; by default it arranges its parts
    itself."""
    require()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def colour(index: int) -> str:
    """One of nine colours that stay apart in print."""
    return _COLOURS[index % len(_COLOURS)]


def as_svg(made: Any) -> bytes:
    """The same figure is the same bytes: no date, no chance in its names."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "kerasdistill"}):
        made.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def as_png(made: Any) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    made.savefig(buffer, dpi=_DPI, format="png")
    return buffer.getvalue()


def save(made: Any, file: str | Path) -> None:
    """The figure as a PNG file, complete or absent; UserError where it cannot be."""
    try:
        write_atomic(file, as_png(made))
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror}); choose another `file`"
        ) from error


def search_picture(searches: Sequence[Search], file: str | Path) -> None:
    """Best-so-far curves, each dimension's values against the objective, and length
    scales, of at least one search with a scored trial, as one PNG that is complete or
    absent; each search has a colour of its own.

    Raises:
        UserError: matplotlib is not installed, or `file` cannot be written.
    """
    dimensions = {each.name: each for search in searches for each in search.searched}
    rows = math.ceil(len(dimensions) / _COLUMNS)
    height = 3.6 + _PANEL_INCHES[1] * rows
    made = figure(_COLUMNS * _PANEL_INCHES[0], height)
    ratios = (3.6, max(0.1, height - 3.6))
    upper, lower = made.subfigures(2, 1, height_ratios=ratios, hspace=0.03)
    with_scales = any(search.length_scales for search in searches)
    widths = [3, 1] if with_scales else [3]
    curve, *bars = upper.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    _curves(curve, searches)
    if with_scales:
        _length_scales(bars[0], searches)
    if dimensions:
        panels = lower.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for panel, dimension in zip(panels, dimensions.values(), strict=False):
            _against(panel, dimension, searches)
        for panel in panels[len(dimensions) :]:
            panel.remove()
        lower.supylabel(_axis_name(searches), fontsize=9)
        legend = (
            "trials along each dimension (ring: the best; triangle: below the axis)"
        )
        lower.suptitle(legend, fontsize=10)
    save(made, file)


def _axis_name(searches: Sequence[Search]) -> str:
    return f"{searches[0].objective.replace('_', ' ')} [%]"


def _curves(axes: Any, searches: Sequence[Search]) -> None:
    for index, search in enumerate(searches):
        steps = best_so_far(search)
        if not steps:
            continue
        numbers = [each["number"] for each in steps]
        best = [100 * each["best"] for each in steps]
        look = {"color": colour(index), "linewidth": 2, "label": search.label}
        axes.step(numbers, best, where="post", **look)
        look = {"s": 14, "color": colour(index), "alpha": 0.45, "linewidths": 0}
        trials = [(trial.number, 100 * trial.score) for trial in search.scored]
        axes.scatter(*zip(*trials, strict=True), **look)
    _limit(axes, searches)
    axes.set_title("best so far (line), each trial (dot)", fontsize=10)
    axes.set_xlabel("trial")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(_axis_name(searches), fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8)


def _floor(searches: Sequence[Search]) -> tuple[float, float]:
    """Percent: from where on trials are shown at their height, and the best.

    A few that went wrong would else press all others into one line.
    """
    scores = [100 * trial.score for search in searches for trial in search.scored]
    lower, upper = np.percentile(scores, [25, 75])
    return max(min(scores), lower - 1.5 * (upper - lower)), max(scores)


def _limit(axes: Any, searches: Sequence[Search]) -> None:
    low, high = _floor(searches)
    margin = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _against(axes: Any, dimension: Dimension, searches: Sequence[Search]) -> None:
    floor, _ = _floor(searches)
    names: list[str] = []
    if dimension.kind == "choice":
        values = (t.values.get(dimension.name) for s in searches for t in s.scored)
        names = sorted({str(value) for value in values if value is not None})
    for index, search in enumerate(searches):
        trials = [t for t in search.scored if t.values.get(dimension.name) is not None]
        if not trials:
            continue
        values = [trial.values[dimension.name] for trial in trials]
        if names:
            # Side by side in the order of the trials: equal values don't hide others.
            spread = np.linspace(-0.25, 0.25, len(trials))
            values = [names.index(str(value)) for value in values] + spread
        heights = np.array([100 * trial.score for trial in trials])
        low = heights < floor
        look = {"color": colour(index), "alpha": 0.7, "linewidths": 0}
        values = np.array(values, float)
        axes.scatter(values[~low], heights[~low], s=16, **look)
        axes.scatter(values[low], np.full(low.sum(), floor), s=24, marker="v", **look)
        best = int(np.argmax(heights))
        ring = {"facecolors": "none", "edgecolors": colour(index)}
        axes.scatter(values[best], heights[best], s=70, **ring)
    _limit(axes, searches)
    if names:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    else:
        _range(axes, dimension.low, dimension.high, scale=dimension.scale)
    axes.set_title(dimension.name, fontsize=9)
    axes.tick_params(labelsize=7, which="both")
    axes.grid(alpha=0.25)


def _range(axes: Any, low: float, high: float, *, scale: str) -> None:
    """The whole range that was searched, with few ticks, written out."""
    if scale != "log":
        margin = 0.04 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
        return
    decades = math.log10(high / low)
    whole = 2 <= decades <= 4 and math.isclose(decades, round(decades))
    ticks = np.geomspace(low, high, round(decades) + 1 if whole else 3)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    margin = (high / low) ** 0.04
    axes.set_xlim(low / margin, high * margin)


def _length_scales(axes: Any, searches: Sequence[Search]) -> None:
    drawn = [(n, each) for n, each in enumerate(searches) if each.length_scales]
    # The shortest on top: along it the objective changes fastest.
    scales = drawn[0][1].length_scales
    names = sorted(scales, key=scales.get, reverse=True)
    thick = 0.8 / len(drawn)
    for row, (index, search) in enumerate(drawn):
        places = [place - 0.4 + thick * (row + 0.5) for place in range(len(names))]
        lengths = [search.length_scales.get(name, np.nan) for name in names]
        axes.barh(places, lengths, height=thick, color=colour(index))
    axes.set_yticks(range(len(names)), names, fontsize=7)
    lengths = [x for _, search in drawn for x in search.length_scales.values()]
    _range(axes, min(lengths) / 1.5, max(lengths) * 1.5, scale="log")
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title("length scales (short: matters)", fontsize=10)
    axes.grid(alpha=0.25, axis="x", color="#777777")
