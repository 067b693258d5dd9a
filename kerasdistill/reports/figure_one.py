"""Figure 1 of the first paper: accuracy against parameters, family by family."""

from collections.abc import Iterable, Sequence
from typing import Any

from kerasdistill.recipes.older import training_of
from kerasdistill.reports import paper, plots
from kerasdistill.reports.collect import Found
from kerasdistill.reports.measured import told
from kerasdistill.reports.places import TRAIN_IMAGES, NoPlace, family

_AT = "10M"  # where the paper ticks its hard-label models
FIVE = ("mean_of_five_best", "best", "fifth_best")
LABELS = {**paper.FAMILIES, paper.SNN: "SNN-ECNN-MIMIC-30k"}
_SNN_LOOK = {"color": "#111111", "marker": "*"}
_SNN_PARAMS = 70_900_938  # as the fact sheet works it out; the paper prints 70M
_RIGHT = 42e6  # where the axis ends, unless there is something beyond


def points(runs: Iterable[Found]) -> list[dict[str, Any]]:
    """Searches (with `best`, `fifth_best`, `mean_of_five_best`) and single runs among
    students and baselines, in validation accuracy from 0 to 1.

    Only those on the whole of CIFAR-10 count, students those by logit regression. A
    search of fewer than five trials has no five best, and counts as a single run.
    """
    found = []
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
            found.append(
                {
                    "kind": results["kind"],
                    "family": family(results),
                    "num_params": int(results["num_params"]),
                    "search": of_search,
                    "val_accuracy": float(results["val_accuracy"]),
                    **{key: float(results[key]) for key in FIVE if of_search},
                    "how": told([results]),
                    "objective_views": results.get("objective_views"),
                    "objective_images": results.get("objective_images"),
                    "path": run.path,
                }
            )
        except (NoPlace, KeyError, TypeError, ValueError):
            continue  # told where the tables are made
    return sorted(found, key=lambda each: (each["family"], each["num_params"]))


def height(point: dict[str, Any]) -> float:
    """What a point counts for: the mean of its five best, or its one."""
    return point["mean_of_five_best"] if point["search"] else point["val_accuracy"]


def gaps(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The compression gap at 10M, published (test) and ours (validation), in points:
    how much a convolutional student is above its twin on hard labels."""
    found = []
    for key in (key for key in paper.FAMILIES if key.startswith("convs")):
        on_logits = paper.URBAN_2.value(key, _AT)
        on_labels = paper.URBAN_1.value(key, *paper.ONE)
        best = {
            kind: max((height(p) for p in near(measured, kind, key)), default=None)
            for kind in ("student", "baseline")
        }
        ours = None
        if None not in best.values():
            ours = 100 * (best["student"] - best["baseline"])
        found.append(
            {"family": key, "published": on_logits - on_labels, "measured": ours}
        )
    return found


def near(
    measured: Sequence[dict[str, Any]], kind: str, key: str
) -> list[dict[str, Any]]:
    """Those of a kind and family within 1 % of 10M."""
    budget = paper.BUDGETS[_AT]
    return [
        point
        for point in measured
        if (point["kind"], point["family"]) == (kind, key)
        and abs(point["num_params"] - budget) <= 0.01 * budget
    ]


def picture(measured: Sequence[dict[str, Any]]) -> bytes:
    """The figure as SVG."""
    return plots.as_svg(drawn(measured))


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
    for axes in (above, below):
        axes.set_xscale("log")
        axes.set_xlim(0.75e6, max(1.3e8, 1.3 * most) if beyond else _RIGHT)
        ticks = {**paper.BUDGETS, **({"100M": 10**8} if beyond else {})}
        axes.set_xticks(list(ticks.values()), list(ticks))
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.25)
        axes.tick_params(labelsize=9)
        axes.set_xlabel("parameters", fontsize=9)
    figure.legend(
        *above.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize=8,
    )
    return figure


def _published(axes: Any, colours: dict[str, str]) -> None:
    for key in reversed(paper.FAMILIES):
        values = [paper.URBAN_2.value(key, budget) for budget in paper.BUDGETS]
        axes.plot(
            list(paper.BUDGETS.values()),
            values,
            color=colours[key],
            marker="o",
            markersize=3,
            linewidth=1.6,
            label=paper.FAMILIES[key],
        )
    for gap in gaps(()):
        _tick(
            axes, paper.URBAN_1.value(gap["family"], *paper.ONE), colours[gap["family"]]
        )
    widest = max(gaps(()), key=lambda gap: gap["published"])
    _arrow(
        axes,
        paper.URBAN_1.value(widest["family"], *paper.ONE),
        paper.URBAN_2.value(widest["family"], _AT),
    )
    axes.set_title("published: best model, test accuracy", fontsize=10)
    axes.set_ylabel("accuracy [%]", fontsize=9)


def _ours(
    axes: Any, measured: Sequence[dict[str, Any]], colours: dict[str, str]
) -> None:
    axes.set_title("measured: validation accuracy", fontsize=10)
    axes.set_ylabel("accuracy [%]", fontsize=9)
    if not measured:
        axes.set_ylim(60, 95)
        axes.text(
            *(0.5, 0.5), "not measured yet", ha="center", transform=axes.transAxes
        )
        return
    for key, colour in colours.items():
        of_family = [point for point in measured if point["family"] == key]
        students = [point for point in of_family if point["kind"] == "student"]
        _lines(axes, [point for point in students if point["search"]], colour)
        singles = [point for point in students if not point["search"]]
        axes.scatter(
            [point["num_params"] for point in singles],
            [100 * point["val_accuracy"] for point in singles],
            color=colour,
            marker="x",
            s=28,
        )
        for point in of_family:
            if point["kind"] == "baseline":
                _tick(axes, 100 * height(point), colour, at=point["num_params"])
    shallow = [point for point in measured if point["family"] == paper.SNN]
    _star(axes, [(point["num_params"], 100 * height(point)) for point in shallow])
    for gap in gaps(measured):
        if gap["measured"] is not None:
            ends = [
                100 * max(map(height, near(measured, kind, gap["family"])))
                for kind in ("baseline", "student")
            ]
            _arrow(axes, *ends)
            break


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
    for name, style, width in zip(
        FIVE, ("-", "--", "--"), (1.8, 0.9, 0.9), strict=True
    ):
        values = [100 * point[name] for point in chosen]
        axes.plot(across, values, style, color=colour, linewidth=width)
        if len(chosen) == 1:  # no line: the spread as marks
            axes.plot(across, values, "_" if style == "--" else "o", color=colour)


def _star(axes: Any, places: Sequence[tuple[float, float]]) -> None:
    """The one network of Table 2 that is of no family, and on no curve."""
    if places:
        axes.scatter(
            *zip(*places, strict=True), label=LABELS[paper.SNN], s=70, **_SNN_LOOK
        )


def _tick(axes: Any, value: float, colour: str, *, at: float = 10e6) -> None:
    """A short horizontal line: a model on hard labels."""
    axes.plot([at / 1.18, at * 1.18], [value, value], color=colour, linewidth=2.4)


def _arrow(axes: Any, low: float, high: float) -> None:
    at = paper.BUDGETS[_AT] * 1.3
    axes.annotate(
        "",
        xy=(at, high),
        xytext=(at, low),
        arrowprops={"arrowstyle": "<->", "linewidth": 0.9},
    )
    axes.annotate(
        "compression gap",
        xy=(at, (low + high) / 2),
        xytext=(6, -2),
        textcoords="offset points",
        fontsize=8,
        va="center",
    )
