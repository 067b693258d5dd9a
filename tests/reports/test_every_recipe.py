"""Reports and lists take the results of every kind of recipe there is."""

import json
import typing
from dataclasses import replace

import pytest

from kerasdistill.budget import Budget
from kerasdistill.objectives import HardLabel
from kerasdistill.recipes import base, born_again, fast, ptb, urban2017
from kerasdistill.recipes.describing import describe
from kerasdistill.reports import listing, render
from kerasdistill.reports.collect import collect
from kerasdistill.reports.overview import overview
from kerasdistill.runs import RunDirectory

from . import made

BUDGET = Budget(1_000_000)
BROUGHT = base.GivenNetwork("keras:MobileNetV2", None)
GIVEN = urban2017.given(BROUGHT, image_shape=(32, 32, 3))
ON_LABELS = replace(GIVEN, training=replace(GIVEN.training, objective=HardLabel()))
NETWORKS = ("wide-resnet-28-1", "densenet-90-60", "ban-wide-resnet-4-1")

# What a run writes, by its recipe's kind; a new kind is one line here.
RUNS = [
    (made.teacher(), urban2017.teacher(1)),
    (made.teacher(), fast.teacher()),
    (made.results(), urban2017.student(budget=BUDGET, convs=3)),
    (made.results(), urban2017.student(budget=BUDGET, hidden=2)),
    (made.results("baseline"), urban2017.baseline(budget=BUDGET, convs=2)),
    (made.results(), GIVEN),
    (made.results("baseline"), ON_LABELS),
    *((made.born_again(name), born_again.recipe(name)) for name in NETWORKS),
    (made.language_model(), ptb.language_model("lstm")),
    (made.language_model(), ptb.language_model("cnn-lstm")),
]


def test_every_kind_is_tried():
    assert {type(recipe) for _, recipe in RUNS} == {*typing.get_args(base.Recipe)}


@pytest.mark.parametrize(("results", "recipe"), RUNS, ids=lambda each: str(each)[:40])
def test_a_run_is_reported_and_listed(results, recipe, tmp_path):
    results = {**results, "recipe": base.to_json(recipe)}
    with RunDirectory.open(tmp_path, results["kind"], {}) as run:
        run.finish(results)
    report = overview(collect([tmp_path]))
    assert (report["runs"], report["problems"]) == (1, [])
    filled = json.dumps([table["rows"] for table in report["tables"]])
    assert str(run.path) in filled + json.dumps(report["unplaced"])
    for form in render.FORMATS.values():
        assert form(report)
    (listed,) = listing.runs(tmp_path)
    assert describe(recipe.architecture) in listed["what"]


def test_what_somebody_brought_is_of_none_of_the_papers_families(tmp_path):
    results = {**made.results(), "recipe": base.to_json(GIVEN)}
    report = overview(collect([made.write(tmp_path, results)]))
    (each,) = report["unplaced"]
    assert each["test_accuracy"] == 0.79 and "MobileNetV2" in each["why"]
