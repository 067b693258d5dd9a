"""Draws docs/students.png, the picture on docs' front page, from results/.

python benchmarks/picture.py
"""

import statistics

import matplotlib
from kept import ROOT, seeds

from kerasdistill.reports import paper

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

FILE = ROOT / "docs" / "students.png"
BUDGET = "1M"
LABELS = {  # family -> below its points
    **{f"hidden-{n}": f"{n} hidden" for n in range(1, 6)},
    **{f"convs-{n}": f"{n} conv" for n in range(1, 5)},
}


def series(kind: str) -> tuple[list[int], list[float]]:
    """Places of the families that were run, and their test accuracies in percent."""
    places, values = [], []
    for place, family in enumerate(LABELS):
        if found := seeds(f"{kind}-{BUDGET.lower()}-{family}"):
            places.append(place)
            accuracies = [each["test_accuracy"] for each in found]
            values.append(100 * statistics.mean(accuracies))
    return places, values


def draw() -> None:
    """Students of one size: on logits, on labels, and the paper's."""
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    (teacher,) = seeds("ensemble-greedy")
    right = 100 * teacher["test_accuracy"]
    axes.axhline(right, color="#555555", linestyle="--", linewidth=1)
    what = f"the teacher: {teacher['num_params'] / 1e6:.1f}M weights, {right:.1f} %"
    axes.annotate(what, (0, right), (0, 4), textcoords="offset points", fontsize=9)
    printed = [paper.URBAN_2.value(family, BUDGET) for family in LABELS]
    axes.plot(printed, "o", color="#bbbbbb", label="the paper's students, 160 passes")
    for kind, colour, what in (
        ("baseline", "#d95f02", "the same on labels alone"),
        ("student", "#1b6ca8", "students here, 20 passes of the teacher's logits"),
    ):
        axes.plot(*series(kind), "o", color=colour, label=what)
    axes.set_xticks(range(len(LABELS)), LABELS.values())
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(50, 100)
    axes.set_title(
        f"CIFAR-10: students of {BUDGET} weights, by their layers", loc="left"
    )
    axes.grid(axis="y", color="#eeeeee")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.85), frameon=False)
    figure.savefig(FILE, dpi=110)


if __name__ == "__main__":
    draw()
