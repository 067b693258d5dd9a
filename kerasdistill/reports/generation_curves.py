"""The picture of born-again runs: accuracy by generation, drawn by `plots`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.reports import born_again, plots


def draw(runs: Sequence[Mapping[str, Any]], file: str | Path) -> None:
    """Accuracy by generation with the ensembles: a panel for each table, and in it a
    colour for each run, as one PNG that is complete or absent.

    Raises:
        UserError: matplotlib is not installed, or `file` cannot be written.
    """
    groups = born_again.grouped(runs)
    figure = plots.figure(8.6, 3.4 * len(groups))  # the legend takes a third
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, (table, group) in zip(panels, groups, strict=True):
        _panel(axes, group)
        axes.set_title(born_again.title(table), fontsize=10)
    panels[-1].set_xlabel(
        "generation (0: the teacher); line: test, dots: validation, "
        "star: ensemble, at its last",
        fontsize=9,
    )
    plots.save(figure, file)


def _panel(axes: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    ordered = sorted(
        runs, key=lambda run: (run["loss"], run["seed"], len(run["generations"]))
    )
    # Of one name and teacher, the one that went furthest has all that the others have.
    longest = {
        (born_again.name(run), run["generations"][0]["weights_digest"]): run
        for run in ordered
    }
    for index, ((name, _), run) in enumerate(longest.items()):
        _generations(axes, run, name, plots.colour(index))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("accuracy [%]", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _generations(axes: Any, run: Mapping[str, Any], name: str, colour: str) -> None:
    rows = run["generations"]
    numbers = [row["generation"] for row in rows]
    for split, style in (("test", "o-"), ("val", "o:")):
        accuracies = [100 * row[f"{split}_accuracy"] for row in rows]
        label = name if split == "test" else None
        axes.plot(numbers, accuracies, style, color=colour, label=label, markersize=4)
    for each in run["ensembles"]:
        at = (each["members"][-1], 100 * each["test_accuracy"])
        axes.plot(*at, "*", color=colour, markersize=9)
        axes.annotate(each["name"], at, (4, 4), textcoords="offset points", fontsize=7)
