"""Every point of every box is a recipe of the asked size; pins and bad pins."""

import itertools
import math
import random

import numpy as np
import pytest

from kerasdistill.budget import PUBLISHED, Budget, student_params
from kerasdistill.errors import UserError
from kerasdistill.recipes import base
from tuners import spaces
from tuners.space import Dimension, parse_pins

STUDENTS = [{"convs": n} for n in (1, 2, 3, 4)] + [{"hidden": n} for n in range(1, 6)]
BASELINES = STUDENTS[:4]
BETWEEN = (Budget(250_000), Budget(5_000_000), Budget(60_000_000))
MOST_CORNERS = 64


def count(recipe: base.StudentRecipe) -> int:
    architecture = recipe.architecture
    return student_params(
        architecture.filters,
        architecture.hidden,
        architecture.bottleneck,
        kernel=architecture.kernel,
        pool=architecture.pool,
        image_shape=(32, 32, 3),
        num_classes=10,
    )


def corners(space):
    """Every corner of the widths' box, the other dimensions at their low end."""
    moving = [d for d in space.free if d.name.startswith(("c", "ratio"))]
    lows = {d.name: d.low for d in space.free}
    names = [d.name for d in moving]
    for ends in itertools.product(*((d.low, d.high) for d in moving)):
        yield {**lows, **dict(zip(names, ends, strict=True))}


def anywhere(space, source):
    """A point as KerasTuner draws it."""
    hyperparameters = space.hyperparameters().space
    return {hp.name: hp.prob_to_value(source.random()) for hp in hyperparameters}


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    ("make", "families"), [(spaces.student, STUDENTS), (spaces.baseline, BASELINES)]
)
def test_every_point_meets_the_budget(make, families, kernel):
    source = random.Random(kernel)
    for family, budget in itertools.product(families, (*PUBLISHED, *BETWEEN)):
        space = make(budget=budget, kernel=kernel, **family)
        points = [*corners(space), *(anywhere(space, source) for _ in range(3))]
        for point in points:
            error = abs(budget.error(count(space.recipe(point))))
            assert error <= 0.01, (family, budget, point)


def test_a_student_moves_what_the_paper_moves():
    space = spaces.student(budget=Budget(10_000_000), convs=3)
    ranges = {d.name: (d.low, d.high, d.log) for d in space.dimensions}
    assert ranges == {
        "learning_rate": (0.0013, 0.016, True),
        "momentum": (0.68, 0.97, True),
        "input_scale": (0.8, 1.25, False),
        "init_scale": (0.4, 2.0, False),
        "c1": (0.0, 1.0, False),
        "c2": (0.0, 1.0, False),
    }
    point = {
        "learning_rate": 0.01,
        "momentum": 0.7,
        "input_scale": 0.9,
        "init_scale": 1.5,
        "c1": 1.0,
        "c2": 0.0,
    }
    recipe = space.recipe(point)
    assert recipe.architecture.filters == (350, 50, 50)  # Table 3, 10M
    assert (recipe.architecture.input_scale, recipe.architecture.init_scale) == (
        0.9,
        1.5,
    )
    assert (recipe.training.learning_rate, recipe.training.momentum) == (0.01, 0.7)
    assert recipe.architecture.dropout_rates == ()
    assert recipe.architecture.weight_decay == 0


@pytest.mark.parametrize("hidden", [1, 2, 5])
def test_the_widths_of_an_mlp(hidden):
    space = spaces.student(budget=PUBLISHED[0], hidden=hidden)
    names = [d.name for d in space.dimensions][4:]
    ratios = [f"ratio_{layer}" for layer in range(1, hidden + 1)]
    assert names == (["c1"] if hidden == 1 else ratios)
    narrow_last = {**space.middle, names[-1]: 0.05}
    middle, narrow = space.recipe(space.middle), space.recipe(narrow_last)
    assert narrow.architecture.hidden[-1] < middle.architecture.hidden[-1]


@pytest.mark.parametrize(("convs", "pools"), [(1, 1), (2, 2), (3, 3), (4, 3)])
def test_a_baseline_has_a_dropout_rate_for_each_pooling(convs, pools):
    space = spaces.baseline(budget=PUBLISHED[2], convs=convs)
    names = [f"dropout_conv_{pool}" for pool in range(1, pools + 1)]
    names.append("dropout_dense")
    assert [d.name for d in space.dimensions][2:-2] == names
    rates = [0.2 + 0.01 * place for place in range(len(names))]
    point = {**space.middle, **dict(zip(names, rates, strict=True))}
    recipe = space.recipe(point)
    assert recipe.architecture.dropout_rates == pytest.approx(rates)
    assert recipe.architecture.weight_decay == 2e-4
    assert recipe.training.loss == "hard-label"


def test_a_teacher_has_18_dimensions_or_17():
    space = spaces.teacher()
    assert len(space.dimensions) == 18
    low = space.recipe({d.name: d.low for d in space.dimensions})
    assert low.architecture.filters == (32, 64, 128)
    assert low.architecture.dense == 512
    assert low.architecture.dropout_rates == (0.1, 0.25, 0.3, 0.2, 0.2)
    assert low.augmentation.hue == 0.03
    assert low.training.learning_rate == 0.01
    high = space.recipe({d.name: d.high for d in space.dimensions})
    assert high.architecture.filters == (96, 192, 384)
    assert high.architecture.weight_decay == 4e-4
    assert (high.augmentation.value, high.augmentation.value_scale) == (0.2, 0.2)

    tied = spaces.teacher(tie_dropout=True)
    assert len(tied.dimensions) == 17
    rates = tied.recipe({**tied.middle, "dropout_dense_1": 0.6}).architecture
    assert rates.dropout_rates[3:] == (0.6, 0.6)


def test_log_scales_are_kerastuners():
    declared = spaces.teacher().hyperparameters().space
    scales = {hp.name: hp.sampling for hp in declared}
    assert {name for name in scales if scales[name] == "log"} == {
        "learning_rate",
        "momentum",
    }
    rate = next(hp for hp in declared if hp.name == "learning_rate")
    assert rate.prob_to_value(0.5) == pytest.approx(math.sqrt(0.01 * 0.05))
    filters = next(hp for hp in declared if hp.name == "filters_1")
    assert {filters.prob_to_value(p) for p in (0.0, 1.0)} == {32, 96}


def test_single_precision_changes_no_recipe():
    """What KerasTuner sends between machines has 24 bits."""
    space = spaces.student(budget=PUBLISHED[0], convs=2)
    source = random.Random(0)
    for point in [*corners(space), *(anywhere(space, source) for _ in range(50))]:
        sent = {name: float(np.float32(value)) for name, value in point.items()}
        assert space.recipe(sent) == space.recipe(point)


def test_fixed_dimensions_are_not_searched():
    space = spaces.teacher().fix({"filters_1": 76.0, "learning_rate": 0.02})
    names = {hp.name for hp in space.hyperparameters().space}
    assert len(names) == 16 and not names & {"filters_1", "learning_rate"}
    recipe = space.recipe(space.middle)
    assert recipe.architecture.filters[0] == 76
    assert recipe.training.learning_rate == 0.02
    told = {d["name"]: d["fixed"] for d in space.to_json()}
    assert told["filters_1"] == 76 and told["momentum"] is None


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("learning_rat=0.01", ["learning_rat:", "did you mean learning_rate?"]),
        ("c1=2", ["c1=2", "0 to 1"]),
        ("momentum=nan", ["momentum=nan", "0.68 to 0.97"]),
        ("c1=high", ["'c1=high'", "name=value"]),
        ("c1", ["'c1'", "name=value"]),
    ],
)
def test_bad_pins(text, fragments):
    space = spaces.student(budget=PUBLISHED[0], convs=2)
    with pytest.raises(UserError) as refusal:
        space.fix(parse_pins([text]))
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_a_width_is_whole_and_a_name_comes_once():
    with pytest.raises(UserError, match="whole number"):
        spaces.teacher().fix(parse_pins(["dense=600.5"]))
    with pytest.raises(UserError, match="c1 twice"):
        parse_pins(["c1=0.1", "c1=0.2"])


def test_values_stay_inside():
    dimension = Dimension("x", 0.68, 0.97, log=True)
    assert dimension.kept(0.9700000286102295) == 0.97
    assert dimension.kept(0.123) == 0.68
    assert dimension.kept(0.75123456789) == 0.751235
    assert dimension.middle == pytest.approx(math.sqrt(0.68 * 0.97), rel=1e-5)


def test_an_impossible_family_is_refused():
    with pytest.raises(UserError, match="smallest possible"):
        spaces.student(budget=Budget(100), convs=3)
    with pytest.raises(UserError, match="convs"):
        spaces.student(budget=PUBLISHED[0])
