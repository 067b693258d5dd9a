"""Figure 1's points and gaps, and where they stand in the picture."""

import json

import pytest

from kerasdistill.reports import figure_one, plots
from kerasdistill.reports.collect import Found

from . import made


def points(*runs):
    read = json.loads(json.dumps(runs))  # as from files: no tuples
    return figure_one.points(Found(str(n), each) for n, each in enumerate(read))


def marks(axes):
    """(parameters, accuracy) of every mark that is on no line."""
    return [tuple(at) for group in axes.collections for at in group.get_offsets()]


def test_points_and_gaps():
    of_search = made.family(
        "convs-1", num_params=10_000_000, **made.search(0.85, objective_images=500)
    )
    single = made.family("convs-1", num_params=10_000_000, val=0.80)
    labels = made.family("convs-1", num_params=10_000_000, loss="hard-label", val=0.75)
    quick = made.family("convs-1", num_params=10_000_000, samples=4_000, val=0.99)
    found = points(of_search, single, {**labels, "kind": "baseline"}, quick)
    assert [point["search"] for point in found] == [True, False, False]
    assert (found[0]["best"], found[0]["fifth_best"]) == (pytest.approx(0.86), 0.84)
    gap, other, *_ = figure_one.gaps(found)
    assert gap["published"] == pytest.approx(2.7)
    assert gap["measured"] == pytest.approx(10.0)
    assert other["measured"] is None
    assert b"<svg" in plots.as_svg(figure_one.drawn(found))


@pytest.mark.parametrize("count", [99_000_000, 100_900_000, 316_000_000])
def test_a_student_beyond_the_first_figures_budgets_is_in_the_picture(count):
    found = points(made.family("convs-4", num_params=count, val=0.9), made.results())
    for axes in figure_one.drawn(found).axes:
        left, right = axes.get_xlim()
        assert left < 1_000_000 and count < right
    assert "100M" in [tick.get_text() for tick in axes.get_xticklabels()]
    assert (count, 90.0) in marks(axes)


def test_the_axis_ends_after_the_budgets_where_nothing_is_beyond():
    above, _ = figure_one.drawn(points(made.results())).axes
    assert above.get_xlim()[1] < 50e6 and marks(above) == []


def test_the_network_of_no_family_has_a_mark_of_its_own():
    found = points(made.snn(val=0.8), made.family("convs-1", val=0.7))
    assert [each["family"] for each in found] == ["convs-1", "snn"]
    above, below = figure_one.drawn(found).axes
    assert marks(above) == [(70_900_938, 85.8)]  # as published
    assert sorted(marks(below)) == [(1_000_376, 70.0), (70_900_938, 80.0)]
    handles, labels = above.get_legend_handles_labels()
    star = handles[labels.index("SNN-ECNN-MIMIC-30k")]
    (family,) = (each for each in below.collections if marks_of(each) == 1_000_376)
    assert star.get_facecolor().tolist() != family.get_facecolor().tolist()
    ours = below.collections[-1]
    assert marks_of(ours) == 70_900_938 and ours.get_label() == "SNN-ECNN-MIMIC-30k"
    assert not any(70_900_938 in line.get_xdata() for line in below.lines)


def marks_of(group):
    return group.get_offsets()[0][0] if len(group.get_offsets()) else None
