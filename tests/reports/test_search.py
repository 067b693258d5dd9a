"""Numbers of a search against those worked out by hand."""

import json

import pytest

from kerasdistill.errors import UserError
from kerasdistill.reports import search, tables

from .conftest import content


def test_the_summary_is_that_of_the_scored_trials(write):
    found = search.describe(search.load(write()))
    assert (found["completed"], found["failed"], found["max_trials"]) == (6, 1, 8)
    assert found["best"] == 0.90
    assert found["fifth_best"] == 0.70
    assert found["mean_of_five_best"] == pytest.approx(0.826)
    assert found["seconds"] == 420
    assert [each["number"] for each in found["top"]] == [1, 6, 5, 0, 2]
    first = found["top"][0]
    assert (first["val_accuracy"], first["trial_id"]) == (0.90, "01")
    assert (first["best_epoch"], first["num_params"]) == (3, 1000)
    assert first["values"]["rate"] == 0.015
    assert found["fixed"] == {"momentum": 0.9}
    json.dumps(found, allow_nan=False)


def test_the_curve_goes_on_over_failures_and_stops_before_what_runs(write):
    curve = search.best_so_far(search.load(write()))
    assert [each["number"] for each in curve] == list(range(7))
    assert [each["best"] for each in curve] == [0.8] + [0.9] * 6


def test_a_curve_begins_with_the_first_score(write):
    trials = content()["trials"]
    for trial in trials:
        if trial["number"] < 2:
            trial.update(status="FAILED", val_accuracy=None)
    curve = search.best_so_far(search.load(write(trials=trials)))
    assert curve[0] == {"number": 2, "best": 0.7}


def test_a_diverged_trial_has_no_score(write, tmp_path):
    trials = content()["trials"]
    trials[1]["val_accuracy"] = float("nan")
    loaded = search.load(write(trials=trials))
    assert len(loaded.scored) == 5
    assert search.describe(loaded)["failed"] == 2


def test_each_dimension_against_the_objective(write):
    rate, width, kind = search.describe(search.load(write()))["dimensions"]
    # Ranks of the rates 2 4 6 1 5 3 and of the scores 3 6 2 1 4 5: squared
    # differences 1 4 16 0 1 4, so 1 - 6 * 26 / 210.
    assert rate["rank_correlation"] == pytest.approx(9 / 35)
    assert rate["best_value"] == 0.015
    # On the log scale the thirds begin at 0.001 and 0.01.
    assert rate["groups"] == {
        "low": {"trials": 1, "median": 0.60},
        "middle": {"trials": 2, "median": pytest.approx(0.84)},
        "high": {"trials": 3, "median": 0.85},
    }
    assert {name: group["trials"] for name, group in width["groups"].items()} == {
        "low": 3,
        "middle": 2,
        "high": 1,
    }
    assert kind["rank_correlation"] is None
    assert kind["groups"] == {
        "a": {"trials": 3, "median": 0.80},
        "b": {"trials": 3, "median": 0.85},
    }


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2, 3], [10, 100, 1000], 1.0),
        ([1, 2, 3, 4], [9, 7, 5, 3], -1.0),
        ([1, 1, 2], [1, 2, 3], 0.75**0.5),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2], [1, 2], None),
    ],
)
def test_rank_correlation(x, y, expected):
    found = search.rank_correlation(x, y)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_the_text_says_it_all(write):
    text = tables.searches([search.describe(search.load(write()))])
    lines = text.splitlines()
    assert "6 of 8 trials completed, 1 failed, 0.12 h; oracle gp, seed 0" in lines[0]
    assert "best 90.00 %, fifth best 70.00 %, mean of the five best 82.60 %" in text
    assert "best so far  ▁██████" in lines
    (heads,) = [line for line in lines if line.startswith("best trials")]
    assert heads.split()[2:] == ["#1", "#6", "#5", "#0", "#2"]
    (rate,) = [line for line in lines if line.startswith("rate  ") and "log" in line]
    assert "+0.26" in rate and "85.00 %" in rate
    assert "kind: a 80.00 % (3), b 85.00 % (3)" in lines
    assert "fixed: momentum=0.9" in lines
    scales = lines[-3:]
    assert [line.split()[0] for line in scales] == ["rate", "kind", "width"]


def test_several_searches_are_compared(write):
    names = ("one", "two")
    found = [search.describe(search.load(write(name))) for name in names]
    lines = tables.searches(found).splitlines()
    assert lines[-3].split() == "search trials best fifth best mean of five".split()
    assert lines[-1].split()[:5] == ["gp", found[1]["path"], "6", "90.00", "%"]


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_a_search_that_has_hardly_begun(write, keep):
    trials = [trial for trial in content()["trials"] if trial["number"] < keep]
    found = search.describe(
        search.load(write(trials=trials, length_scales=None, seed=None))
    )
    assert found["fifth_best"] is None and found["mean_of_five_best"] is None
    text = tables.searches([found])
    assert ("no trial has completed yet" in text) == (keep == 0)
    assert "length scales" not in text


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ('{"objective": "val_acc', "is damaged"),
        ("[1, 2]", "is not what a search writes"),
        ('{"objective": "val_accuracy"}', "'max_trials'"),
        (json.dumps(content(trials=[{"number": 1}])), "'status'"),
        (json.dumps(content(space=[{"kind": "int"}])), "'name'"),
    ],
)
def test_other_files_are_refused_in_one_line(text, fragment, tmp_path):
    (tmp_path / "trials.json").write_text(text)
    with pytest.raises(UserError) as caught:
        search.load(tmp_path)
    assert fragment in str(caught.value) and "\n" not in str(caught.value)
    assert str(tmp_path / "trials.json") in str(caught.value)


def test_no_search_there(tmp_path):
    with pytest.raises(UserError, match="trials.json does not exist"):
        search.load(tmp_path)
