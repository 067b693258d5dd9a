"""Figure 1 of the first paper: accuracy against parameters, family by family."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from kerasdistill.recipes.older import training_of
from kerasdistill.reports import paper, plots
from kerasdistill.reports.cells import TRAIN_IMAGES, NoCell, family
from kerasdistill.reports.collect import Found
from kerasdistill.reports.measured import settings

_AT = "10M"  # where the paper ticks its hard-label models
FIVE = ("mean_of_five_best", "best", "fifth_best")
LABELS = {**paper.FAMILIES, paper.SNN: "SNN-ECNN-MIMIC-30k"}
_SNN_PARAMS = 70_900_938  # by docs/papers/urban2017.md; the paper prints 70M
_RIGHT = 42e6  # where the axis ends, unless there is something beyond


def points(runs: Iterable[Found]) -> list[dict[str, Any]]:
    """Searches (with `best`, `fifth_best`, `mean_of_five_best`) and single runs among
    students and baselines, in validation accuracy from 0 to 1.

    Only those on the whole of CIFAR-10 count, students those by logit regression. A
    search of fewer than five trials has no five best, and counts as a single run.
    """
    shown = []
    for run in runs:
        results = run.results
        try:
            if results["kind"] not in ("student", "baseline"):
                continue
            loss = training_of(results["recipe"])["loss"]
            if loss not in ("logit-regression", "hard-label"):
                continue
            data = results["dataset"]
            whole = TRAIN_IMAGES["cifar10"]
            if (data["name"], data["num_samples"]) != ("cifar10", whole):
                continue
            of_search = results.get("mean_of_five_best") is not None
            shown.append(
                {
                    "kind": results["kind"],
                    "family": family(results),
                    "num_params": int(results["num_params"]),
                    "search": of_search,
                    "val_accuracy": float(results["val_accuracy"]),
                    **{key: float(results[key]) for key in FIVE if of_search},
                    "how": settings([results]),
                    "objective_views": results.get("objective_views"),
                    "objective_images": results.get("objective_images"),
                    "path": run.path,
                }
            )
        except (NoCell, KeyError, TypeError, ValueError, AttributeError):
            continue  # the tables say why
    shown = [each for each in shown if math.isfinite(height(each))]
    return sorted(shown, key=lambda each: (each["family"], each["num_params"]))


def height(point: dict[str, Any]) -> float:
    """What a point counts for: the mean of its five best, or its one."""
    return point["mean_of_five_best"] if point["search"] else point["val_accuracy"]


def gaps(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The compression gap at 10M, published (test) and ours (validation), in points:
    how much a convolutional student is above its twin on hard labels."""
    rows = []
    for key in (key for key in paper.FAMILIES if key.startswith("convs")):
        labels, logits = _published_ends(key)
        ends = _measured_ends(measured, key)
        ours = ends and 100 * (ends[1] - ends[0])
        rows.append({"family": key, "published": logits - labels, "measured": ours})
    return rows


def _published_ends(key: str) -> tuple[float, float]:
    """Percent of a family at 10M on hard labels, and on logits."""
    labels = paper.URBAN_1.value(key, *paper.ONE)
    return labels, paper.URBAN_2.value(key, _AT)


def _measured_ends(
    measured: Sequence[dict[str, Any]], key: str
) -> tuple[float, float] | None:
    """Our best fractions within 1 % of 10M, as `_published_ends`; None without both."""
    budget = paper.BUDGETS[_AT]
    best: dict[str, float] = {}
    for point in measured:
        near = abs(point["num_params"] - budget) <= 0.01 * budget
        if near and point["family"] == key:
            kind = point["kind"]
            best[kind] = max(height(point), best.get(kind, 0.0))
    return (best["baseline"], best["student"]) if len(best) == 2 else None


def drawn(measured: Sequence[dict[str, Any]]) -> Any:
    """The published figure's numbers above, ours below.

    The paper's own figure shows means of five best that it does not print; what is
    drawn of it are the best ones, of its Tables 1 and 2. Its Figure 2 goes on to 100M,
    as this one does where there is anything beyond 31.6M.
    """
    figure = plots.figure(5.0, 8.6)
    above, below = figure.subplots(2, 1, sharex=True)
    colours = {
        key: plots.colour(index) for index, key in enumerate(reversed(paper.FAMILIES))
    }
    most = max((point["num_params"] for point in measured), default=0)
    beyond = most > _RIGHT
    _published(above, colours)
    if beyond:
        _star(above, [(_SNN_PARAMS, paper.URBAN_2.value(paper.SNN, "70M"))])
    _ours(below, measured, colours)
    ticks = {**paper.BUDGETS, **({"100M": 10**8} if beyond else {})}
    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_xlim(0.75e6, max(1.3e8, 1.3 * most) if beyond else _RIGHT)
        axes.set_xticks(list(ticks.values()), list(ticks))
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=9)
        axes.set_xlabel("parameters", fontsize=9)
        axes.set_ylabel("accuracy [%]", fontsize=9)
    handles = above.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _published(axes: Any, colours: dict[str, str]) -> None:
    axes.set_title("published: best model, test accuracy", fontsize=10)
    look = {"marker": "o", "markersize": 3, "linewidth": 1.6}
    for key, label in reversed(paper.FAMILIES.items()):
        values = [paper.URBAN_2.value(key, budget) for budget in paper.BUDGETS]
        budgets = list(paper.BUDGETS.values())
        axes.plot(budgets, values, color=colours[key], label=label, **look)
    for gap in gaps(()):
        _tick(axes, _published_ends(gap["family"])[0], colours[gap["family"]])
    widest = max(gaps(()), key=lambda gap: gap["published"])
    _arrow(axes, *_published_ends(widest["family"]))


def _ours(
    axes: Any, measured: Sequence[dict[str, Any]], colours: dict[str, str]
) -> None:
    axes.set_title("measured: validation accuracy", fontsize=10)
    if not measured:
        axes.set_ylim(60, 95)
        axes.text(0.5, 0.5, "not measured yet", ha="center", transform=axes.transAxes)
        return
    for key, colour in colours.items():
        of_family = [point for point in measured if point["family"] == key]
        students = [point for point in of_family if point["kind"] == "student"]
        _lines(axes, [point for point in students if point["search"]], colour)
        if singles := _places(point for point in students if not point["search"]):
            axes.scatter(*zip(*singles, strict=True), color=colour, marker="x", s=28)
        for at, value in _places(p for p in of_family if p["kind"] == "baseline"):
            _tick(axes, value, colour, at=at)
    _star(axes, _places(point for point in measured if point["family"] == paper.SNN))
    for gap in gaps(measured):
        if gap["measured"] is not None:
            ends = _measured_ends(measured, gap["family"])
            _arrow(axes, *(100 * end for end in ends))
            break


def _places(points: Iterable[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(point["num_params"], 100 * height(point)) for point in points]


def _lines(axes: Any, searches: Sequence[dict[str, Any]], colour: str) -> None:
    """Means of five solid, the best and the fifth best dashed; of several searches at
    one budget the one with the highest mean."""
    best: dict[int, dict[str, Any]] = {}
    for point in searches:
        budget = round(point["num_params"], -4)
        if budget not in best or height(point) > height(best[budget]):
            best[budget] = point
    chosen = [best[budget] for budget in sorted(best)]
    across = [point["num_params"] for point in chosen]
    looks = (("-", 1.8), ("--", 0.9), ("--", 0.9))
    for name, (style, width) in zip(FIVE, looks, strict=True):
        values = [100 * point[name] for point in chosen]
        axes.plot(across, values, style, color=colour, linewidth=width)
        if len(chosen) == 1:  # no line: the spread as marks
            axes.plot(across, values, "_" if style == "--" else "o", color=colour)


def _star(axes: Any, places: Sequence[tuple[float, float]]) -> None:
    """The one network of Table 2 that is of no family, and on no curve."""
    if places:
        look = {"color": "#111111", "marker": "*", "s": 70}
        axes.scatter(*zip(*places, strict=True), label=LABELS[paper.SNN], **look)


def _tick(axes: Any, value: float, colour: str, *, at: float = 10e6) -> None:
    """A short horizontal line: a model on hard labels."""
    axes.plot([at / 1.18, at * 1.18], [value, value], color=colour, linewidth=2.4)


def _arrow(axes: Any, low: float, high: float) -> None:
    at = paper.BUDGETS[_AT] * 1.3
    line = {"arrowstyle": "<->", "linewidth": 0.9}
    axes.annotate("", xy=(at, high), xytext=(at, low), arrowprops=line)
    text = {"xytext": (6, -2), "textcoords": "offset points", "va": "center"}
    middle = (at, (low + high) / 2)
    axes.annotate("compression gap", xy=middle, fontsize=8, **text)
