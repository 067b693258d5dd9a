"""Pictures of `inspect`, drawn by `plots`."""

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasdistill.reports import plots

ACROSS = 6
MOST = 36  # pictures on a sheet
_GOOD, _BAD, _BLUE = "#2a9d5c", "#c0392b", "#1f77b4"
_NAMED = 30  # classes up to which a matrix names them
_SIDE, _LINE, _GAP = 1.61, 0.125, 0.1  # inches: a picture, a line below it, between


def contact_sheet(
    images: np.ndarray, captions: Sequence[str], *, good: Sequence[bool | None]
) -> Any:
    """Images with what a model says of each below; the frame is green where `good`,
    grey where that is None.

    Args:
        images: uint8 [N, H, W, 1 or 3], N at least 1; the first `MOST` are shown.
        captions: one for each; lines break at "\\n".
        good: one for each.
    """
    count = min(len(images), MOST)
    down = -(-count // ACROSS)
    texts = [_wrapped(caption) for caption in captions[:count]]
    below = _GAP + _LINE * max(text.count("\n") + 1 for text in texts)
    height = down * (_SIDE + below + _GAP)
    # Every panel is alike: no layout has to be searched for, which takes seconds.
    figure = plots.figure(ACROSS * 1.75, height, layout="none")
    edges = (0.01, below / height, 0.99, 1 - _GAP / height)
    figure.subplots_adjust(*edges, wspace=0.08, hspace=(below + _GAP) / _SIDE)
    panels = np.ravel(figure.subplots(down, ACROSS, squeeze=False))
    for panel, image, text, fine in zip(
        panels, images[:count], texts, good, strict=False
    ):
        shown = image[..., 0] if image.shape[-1] == 1 else image
        panel.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panel.set_xticks([])
        panel.set_yticks([])
        colour = "#888888" if fine is None else _GOOD if fine else _BAD
        for side in panel.spines.values():
            side.set(color=colour, linewidth=2.5)
        panel.set_xlabel(text, fontsize=7)
    for panel in panels[count:]:
        panel.remove()
    return figure


def histograms(
    confidence: dict[str, Any], agreement: Sequence[dict[str, Any]], *, what: str
) -> Any:
    """The largest probability's histogram, and another of agreement called `what`."""
    figure = plots.figure(9.0, 3.6)
    left, right = figure.subplots(1, 2)
    rows = confidence["histogram"]
    middles = [(row["low"] + row["high"]) / 2 for row in rows]
    counts = np.array([row["count"] for row in rows])
    if rows[0]["right"] is None:
        left.bar(middles, counts, width=0.09, color=_BLUE)
    else:
        fine = np.array([row["right"] for row in rows])
        left.bar(middles, fine, width=0.09, color=_GOOD, label="names the label")
        rest = counts - fine
        left.bar(middles, rest, width=0.09, bottom=fine, color=_BAD, label="does not")
        left.legend(fontsize=8)
    left.set_title(f"confidence, mean {confidence['mean']:.3f}", fontsize=10)
    left.set_xlabel("largest probability")
    left.set_ylabel("views")
    if agreement:
        width = [row["high"] - row["low"] for row in agreement]
        lows = [row["low"] for row in agreement]
        heights = [row["count"] for row in agreement]
        right.bar(lows, heights, width=width, align="edge", color=_BLUE)
    else:
        right.text(0.5, 0.5, "no labels", ha="center", transform=right.transAxes)
    right.set_title(what, fontsize=10)
    for axes in (left, right):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    return figure


def confusion(matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Rows are labels, columns predictions; shades are fractions of a row."""
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(11.0, 2.5 + 0.5 * len(names))
    figure = plots.figure(side, side)
    axes = figure.subplots()
    axes.imshow(matrix / totals, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= _NAMED:
        ticks = range(len(names))
        shown = [_plain(name) for name in names]
        axes.set_xticks(ticks, shown, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(ticks, shown, fontsize=8)
        for row, column in np.ndindex(*matrix.shape):
            if count := int(matrix[row, column]):
                dark = count > 0.5 * totals[row, 0]
                look = {"color": "white" if dark else "#222222", "fontsize": 7}
                axes.text(column, row, str(count), ha="center", va="center", **look)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    return figure


def bars(
    values: Sequence[tuple[str, float]],
    *,
    what: str,
    most: float = 0.0,
    form: str = "%.1f %%",
) -> Any:
    """A bar for each of the first `MOST` names, from the top, with its value in a form;
    the axis is called `what` and reaches `most` at least."""
    shown = values[:MOST]
    figure = plots.figure(6.0, 1.2 + 0.24 * len(shown))
    axes = figure.subplots()
    places = range(len(shown))
    drawn = axes.barh(places, [value for _, value in shown], color=_BLUE)
    axes.bar_label(drawn, fmt=form, fontsize=7, padding=2)
    axes.set_yticks(places, [_plain(name) for name, _ in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(most, *(value for _, value in shown)))
    axes.set_xlabel(what)
    return figure


def lists(findings: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """Pictures of what was listed: worst classes first, mistaken pairs, members."""
    classes = [
        (row["class"], 100 * row["accuracy"])
        for row in findings.get("per_class", ())
        if row["count"]
    ]
    classes.sort(key=lambda each: each[1])
    pairs = [
        (f"{row['label']} as {row['taken_for']}", 100 * row["fraction"])
        for row in findings["confused"]
    ]
    agreeing = enumerate(findings.get("members_agreeing", ()))
    members = [(f"{number} members", count) for number, count in agreeing]
    drawn = {
        "per_class": (classes, {"what": "accuracy of the class, %", "most": 100}),
        "confused": (pairs, {"what": "of the first class, %"}),
        "members": (
            members,
            {"what": "views in which so many name the mean's class", "form": "%d"},
        ),
    }
    return {
        name: functools.partial(bars, values, **how)
        for name, (values, how) in drawn.items()
        if values
    }


def calibration(calibrated: dict[str, Any]) -> Any:
    """Accuracy against confidence, bin by bin; equal is the diagonal."""
    figure = plots.figure(4.6, 4.6)
    axes = figure.subplots()
    rows = [row for row in calibrated["bins"] if row["count"]]
    lows, accuracies, sure = (
        [row[key] for row in rows] for key in ("low", "accuracy", "confidence")
    )
    widths = [row["high"] - row["low"] for row in rows]
    look = {"color": _BLUE, "alpha": 0.75, "edgecolor": "white", "label": "accuracy"}
    axes.bar(lows, accuracies, width=widths, align="edge", **look)
    look = {"color": _BAD, "markersize": 4, "label": "mean confidence"}
    axes.plot(sure, sure, "o", **look)
    axes.plot([0, 1], [0, 1], "--", color="#777777", linewidth=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"expected calibration error {calibrated['ece']:.4f}", fontsize=10)
    axes.legend(loc="upper left", fontsize=8)
    return figure


def _wrapped(caption: str) -> str:
    """As wide as a panel; of a name that is very long the beginning is enough."""
    how = {"width": 26, "max_lines": 3, "placeholder": " …"}
    caption = caption.replace(" %", "\N{NO-BREAK SPACE}%")
    return _plain("\n".join(textwrap.fill(line, **how) for line in caption.split("\n")))


def _plain(text: str) -> str:
    """Without matplotlib's mathematics: class names are not formulas."""
    return text.replace("$", r"\$")
