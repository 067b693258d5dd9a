import random
import re
from dataclasses import replace

import pytest

from kerasdistill.budget import PUBLISHED, Budget, student_params
from kerasdistill.errors import UserError
from kerasdistill.recipes import base, reading, urban2017, urban2017_bounds

# As in docs/papers/urban2017.md: dependent width from, to; largest error in percent.
PRINTED = {
    0: ((117, 278, 0.40), (128, 774, 0.36), (292, 1232, 0.16), (648, 3910, 0.08)),
    1: ((59, 237, 0.81), (91, 619, 0.52), (150, 1816, 0.31), (492, 1504, 0.10)),
    2: ((82, 766, 0.38), (311, 2427, 0.12), (1160, 7724, 0.04), (3791, 24470, 0.01)),
    3: ((218, 2956, 0.09), (357, 4729, 0.05), (686, 12172, 0.03), (1003, 38830, 0.02)),
    4: ((150, 2314, 0.08), (261, 3663, 0.05), (363, 12094, 0.03), (638, 38753, 0.02)),
}
BASELINE_PRINTED = {1: (191, 1922), 2: (194, 1540), 3: (823, 5972), 4: (671, 5933)}


def family(convs):
    return {"convs": convs} if convs else {"hidden": 1}


def count(recipe, image_shape=(32, 32, 3), num_classes=10):
    student = recipe.architecture
    return student_params(
        student.filters,
        student.hidden,
        student.bottleneck,
        kernel=student.kernel,
        pool=student.pool,
        image_shape=image_shape,
        num_classes=num_classes,
    )


def dependent(recipe):
    student = recipe.architecture
    return student.hidden[0] if student.bottleneck is None else student.bottleneck


def free(recipe):
    """The two width groups as the constants C1 and C2 address them."""
    student = recipe.architecture
    if not student.filters:
        return student.hidden
    if len(student.filters) == 1:
        return student.filters + student.hidden
    return student.filters[0], student.filters[-1]


def corners_and_random_points(seed, random_points=40):
    source = random.Random(seed)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    return corners + [(source.random(), source.random()) for _ in range(random_points)]


@pytest.mark.parametrize("convs", range(5))
@pytest.mark.parametrize("column", range(4))
def test_every_point_of_table_3_meets_the_budget(convs, column):
    budget = PUBLISHED[column]
    low, high, percent = PRINTED[convs][column]
    solved = []
    for c1, c2 in corners_and_random_points(column):
        recipe = urban2017.student(budget=budget, c1=c1, c2=c2, **family(convs))
        assert abs(budget.error(count(recipe))) <= (percent + 0.005) / 100
        bounds = urban2017_bounds.STUDENT_WIDTHS[convs][column]
        constants = (c1, c2)[: len(bounds)]
        for width, (lowest, highest), constant in zip(
            free(recipe), bounds, constants, strict=True
        ):
            # The widths are the proposal itself: no published point is moved.
            assert abs(width - (lowest + constant * (highest - lowest))) <= 0.5 + 1e-6
        solved.append(dependent(recipe))
    # The printed ends belong to budgets of exact sqrt(10) steps, hence the 0.4 %.
    assert min(solved) == pytest.approx(low, rel=0.004, abs=1)
    assert max(solved) == pytest.approx(high, rel=0.004, abs=1)


@pytest.mark.parametrize("convs", range(1, 5))
def test_every_baseline_point_meets_the_budget(convs):
    budget = PUBLISHED[2]
    solved = []
    for c1, c2 in corners_and_random_points(convs):
        recipe = urban2017.baseline(budget=budget, convs=convs, c1=c1, c2=c2)
        assert abs(budget.error(count(recipe))) <= 0.0032
        solved.append(dependent(recipe))
    assert (min(solved), max(solved)) == pytest.approx(BASELINE_PRINTED[convs], abs=1)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("make", [urban2017.student, urban2017.baseline])
def test_any_other_budget_is_met_within_one_percent(make, kernel):
    source = random.Random(kernel)
    for _ in range(200):
        budget = Budget(int(10 ** source.uniform(3.6, 8)))
        chosen = source.choice([{"convs": n} for n in (1, 2, 3, 4)] + [{"hidden": 1}])
        recipe = make(
            budget=budget,
            kernel=kernel,
            c1=source.random(),
            c2=source.random(),
            **chosen,
        )
        assert abs(budget.error(count(recipe))) <= 0.01, (budget, chosen)


@pytest.mark.parametrize("hidden", [2, 3, 4, 5])
def test_hidden_layers_meet_any_budget_with_any_ratios(hidden):
    source = random.Random(hidden)
    for _ in range(60):
        budget = Budget(int(10 ** source.uniform(3.6, 8)))
        ratios = [source.uniform(0.05, 1) for _ in range(hidden)]
        recipe = urban2017.student(budget=budget, hidden=hidden, ratios=ratios)
        assert recipe.architecture.bottleneck is None
        assert len(recipe.architecture.hidden) == hidden
        assert abs(budget.error(count(recipe))) <= 0.01, (budget, ratios)


@pytest.mark.parametrize("image_shape", [(8, 8, 3), (28, 28, 1), (64, 48, 3)])
@pytest.mark.parametrize("num_classes", [2, 100])
def test_other_images_and_class_counts(image_shape, num_classes):
    geometry = {"image_shape": image_shape, "num_classes": num_classes}
    kinds = [{"convs": n} for n in (1, 2, 3, 4)] + [{"hidden": n} for n in (1, 2, 5)]
    for kind in kinds:
        for budget in (Budget(100_000), Budget(1_000_000)):
            recipe = urban2017.student(budget=budget, **kind, **geometry)
            assert abs(budget.error(count(recipe, **geometry))) <= 0.01


@pytest.mark.parametrize("kind", [{"convs": n} for n in (1, 2, 3, 4)])
def test_small_students_stay_in_proportion(kind):
    large = urban2017.student(budget=Budget(1_000_000), **kind)
    small = urban2017.student(budget=Budget(250_000), **kind)
    for width, half in zip(free(large), free(small), strict=True):
        assert half == pytest.approx(width / 2, rel=0.05)
    assert dependent(small) == pytest.approx(dependent(large) / 2, rel=0.1)


@pytest.mark.parametrize(
    "kind", [{"convs": n} for n in (1, 2, 3, 4)] + [{"hidden": n} for n in range(1, 6)]
)
def test_the_smallest_possible_budget_is_named_and_possible(kind):
    with pytest.raises(UserError) as refusal:
        urban2017.student(budget=Budget(50), **kind)
    named = re.search(r"smallest possible budget is (\d+)$", str(refusal.value))
    smallest = int(named.group(1))
    met = count(urban2017.student(budget=Budget(smallest), **kind))
    assert smallest <= met <= 1.01 * smallest
    with pytest.raises(UserError, match=f"smallest possible budget is {smallest}"):
        urban2017.student(budget=Budget(smallest - 1), **kind)


def test_a_budget_in_a_gap_is_refused_with_the_nearest_count():
    # Two convolutions, widths (1, 1): 167 + 75 H - 55; no count lies near 230.
    with pytest.raises(UserError, match="nearest count is .* possible budget is 187"):
        urban2017.student(budget=Budget(230), convs=2)


FAMILIES = [{"convs": n} for n in (1, 2, 3, 4)] + [{"hidden": n} for n in range(1, 6)]
OTHER_IMAGES = {"image_shape": (24, 16, 1), "num_classes": 100}


def all_widths(recipe):
    student = recipe.architecture
    bottleneck = () if student.bottleneck is None else (student.bottleneck,)
    return *student.filters, *bottleneck, *student.hidden


def is_multiple(width):
    return width % (8 if width < 64 else 16) == 0


def point_of(source, family):
    """Constants or ratios anywhere in a family's ranges."""
    layers = family.get("hidden", 1)
    if layers > 1:
        return {"ratios": [source.uniform(0.05, 1) for _ in range(layers)]}
    return {name: source.choice((0, 1, source.random())) for name in ("c1", "c2")}


@pytest.mark.parametrize("geometry", [{}, OTHER_IMAGES], ids=["cifar", "other"])
@pytest.mark.parametrize("make", [urban2017.student, urban2017.baseline])
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_rounded_widths_lie_near_the_exact_ones(family, make, geometry):
    source = random.Random(str(family))
    for _ in range(8):
        request = {"budget": Budget(int(10 ** source.uniform(4, 7.6))), **geometry}
        request |= {**family, **point_of(source, family)}
        exact = make(**request)
        rounded = make(**request, width_rule="rounded")
        assert rounded == make(**request, width_rule="rounded")
        error = request["budget"].error(count(rounded, **geometry))
        assert abs(error) <= 0.01, request
        pairs = zip(all_widths(exact), all_widths(rounded), strict=True)
        for before, width in pairs:
            assert 1 / 1.15 <= width / before <= 1.15, request
        for before, width in zip(not_solved(exact), not_solved(rounded), strict=True):
            assert is_multiple(width) or width == before, request


def not_solved(recipe):
    """All widths but the one that is solved."""
    student = recipe.architecture
    if student.bottleneck is None and not student.filters:
        return student.hidden[1:]
    return free(recipe)


@pytest.mark.parametrize("budget", PUBLISHED, ids=str)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_rounded_widths_at_published_budgets(family, budget):
    recipe = urban2017.student(budget=budget, **family, width_rule="rounded")
    assert all(map(is_multiple, not_solved(recipe)))
    # One unit of the bottleneck after a convolution is 0.97 % of 1M.
    if (family, budget) != ({"convs": 1}, PUBLISHED[0]):
        assert all(width % 8 == 0 for width in all_widths(recipe))


@pytest.mark.parametrize(
    ("budget", "family", "filters", "dense"),
    [
        ("1M", {"convs": 3}, (64, 64, 64), 768),
        ("1M", {"convs": 4}, (64, 64, 64, 64), 672),
        ("10M", {"convs": 3}, (208, 192, 192), 2608),
        ("250k", {"convs": 3}, (32, 32, 32), 376),
        ("10M", {"hidden": 2}, (), 1984),
    ],
)
def test_rounded_widths_that_runs_have(budget, family, filters, dense):
    """Others would rename runs."""
    budget = Budget.parse(budget)
    student = urban2017.student(budget=budget, **family, width_rule="rounded")
    student = student.architecture
    assert (student.filters, student.hidden[0]) == (filters, dense)
    assert student.width_rule == "rounded"


@pytest.mark.parametrize("family", FAMILIES[:4], ids=str)
@pytest.mark.parametrize("column", range(4))
def test_rounded_widths_stay_in_the_papers_boxes(family, column):
    bounds = urban2017_bounds.STUDENT_WIDTHS[family["convs"]][column]
    for c1, c2 in corners_and_random_points(column, random_points=10):
        made = {"budget": PUBLISHED[column], "c1": c1, "c2": c2, **family}
        recipe = urban2017.student(**made, width_rule="rounded")
        for width, (low, high) in zip(free(recipe), bounds, strict=True):
            assert low <= width <= high


def test_bounds_between_and_outside_the_published_budgets():
    def widths(target):
        return urban2017_bounds.student_widths(Budget(target), convs=3)[0]

    assert widths(10_000_000) == pytest.approx((50, 350))
    middle = widths(round((10_000_000 * 31_600_000) ** 0.5))
    assert middle == pytest.approx((50, (350 * 650) ** 0.5), rel=1e-6)
    assert widths(250_000) == pytest.approx((10, 55))
    assert widths(4 * 31_600_000) == pytest.approx((100, 1300))
    baseline = urban2017_bounds.baseline_widths(Budget(2_500_000), convs=3)
    assert baseline == (pytest.approx((25, 250)), pytest.approx((50, 150)))


def test_rules_of_the_families():
    budget = Budget.parse("1M")
    for convs in (1, 2, 3, 4):
        student = urban2017.student(budget=budget, convs=convs).architecture
        assert len(student.filters) == convs and len(student.hidden) == 1
        assert (student.bottleneck is not None) == (convs == 1)
        assert student.pool == (3 if convs == 1 else 2)
        assert student.kernel == 5
    for hidden in range(1, 6):
        student = urban2017.student(budget=budget, hidden=hidden).architecture
        assert student.filters == () and len(student.hidden) == hidden
        assert (student.bottleneck is not None) == (hidden == 1)


def test_width_groups():
    three = urban2017.student(budget=PUBLISHED[2], convs=3, c1=0, c2=1).architecture
    assert three.filters == (50, 350, 350)
    four = urban2017.student(budget=PUBLISHED[2], convs=4, c1=0, c2=1).architecture
    assert four.filters == (50, 50, 350, 350)
    two = urban2017.student(budget=PUBLISHED[2], convs=2, c1=1, c2=0).architecture
    assert two.filters == (350, 20)
    one = urban2017.student(budget=PUBLISHED[2], convs=1, c1=1, c2=0).architecture
    assert (one.filters, one.hidden) == ((450,), (500,))


def test_student_recipe_lies_inside_the_papers_ranges():
    recipe = urban2017.student(budget=PUBLISHED[0], convs=2)
    ranges = urban2017_bounds.STUDENT_RANGES
    values = {
        "learning_rate": recipe.training.learning_rate,
        "momentum": recipe.training.momentum,
        "input_scale": recipe.architecture.input_scale,
        "init_scale": recipe.architecture.init_scale,
    }
    for name, value in values.items():
        assert ranges[name].low <= value <= ranges[name].high
    assert recipe.architecture.dropout_rates == ()
    assert recipe.architecture.weight_decay == 0
    assert recipe.augmentation == base.Augmentation()
    training = recipe.training
    assert (training.loss, training.batch_size) == ("logit-regression", 128)
    assert (training.schedule, training.epochs) == ("paper", None)


def test_baseline_recipe_is_regularised():
    recipe = urban2017.baseline(budget=PUBLISHED[2], convs=4)
    assert recipe.architecture.dropout_rates == (0.225, 0.35, 0.4, 0.4)
    assert recipe.architecture.weight_decay == 2e-4
    assert recipe.training.loss == "hard-label"
    ranges = urban2017_bounds.BASELINE_RANGES
    low, high = ranges["learning_rate"].low, ranges["learning_rate"].high
    assert low <= recipe.training.learning_rate <= high
    one = urban2017.baseline(budget=PUBLISHED[2], convs=1).architecture
    assert one.dropout_rates == (0.225, 0.4)
    mlp = urban2017.baseline(budget=PUBLISHED[0], hidden=3).architecture
    assert mlp.dropout_rates == (0.4,)


def test_teachers():
    widths = [
        (recipe.architecture.filters, recipe.architecture.dense)
        for recipe in map(urban2017.teacher, (1, 2, 3))
    ]
    assert widths == [
        ((76, 126, 148), 1200),
        ((96, 171, 128), 512),
        ((54, 158, 189), 1044),
    ]
    assert urban2017.teacher() == urban2017.teacher(published=1)
    assert urban2017.teacher_of(filters=[76, 126, 148], dense=1200) == (
        urban2017.teacher(1)
    )


def test_teacher_hyperparameters_lie_inside_the_papers_ranges():
    recipe = urban2017.teacher(3)
    names = [name for name in urban2017_bounds.TEACHER_RANGES if "dropout" in name]
    values = dict(zip(names, recipe.architecture.dropout_rates, strict=True))
    values |= {
        "learning_rate": recipe.training.learning_rate,
        "momentum": recipe.training.momentum,
        "weight_decay": recipe.architecture.weight_decay,
        "init_scale": recipe.architecture.init_scale,
        "hue": recipe.augmentation.hue,
        "value_scale": recipe.augmentation.value_scale,
    }
    for name, value in values.items():
        allowed = urban2017_bounds.TEACHER_RANGES[name]
        assert allowed.low <= value <= allowed.high, name


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"convs": 2, "hidden": 2},
        {"convs": 0},
        {"convs": 5},
        {"hidden": 0},
        {"hidden": 6},
        {"convs": 2, "kernel": 0},
        {"convs": 2, "num_classes": 0},
        {"convs": 2, "image_shape": (32, 32)},
        {"convs": 4, "image_shape": (4, 4, 3)},
        {"convs": 2, "c1": 1.5},
        {"convs": 2, "c2": float("nan")},
        {"convs": 2, "ratios": (1, 1)},
        {"hidden": 2, "ratios": (1, 1, 1)},
        {"hidden": 2, "ratios": (1, 0)},
        {"hidden": 2, "ratios": (1, float("nan"))},
    ],
)
@pytest.mark.parametrize("make", [urban2017.student, urban2017.baseline])
def test_contradictory_requests_are_refused_in_one_line(make, arguments):
    with pytest.raises(UserError) as refusal:
        make(budget=PUBLISHED[0], **arguments)
    message = str(refusal.value)
    assert "expected" in message or "such as" in message
    assert "\n" not in message


@pytest.mark.parametrize("published", [0, 4, -1])
def test_unknown_teachers_are_refused(published):
    with pytest.raises(UserError, match="expected 1, 2 or 3"):
        urban2017.teacher(published)


@pytest.mark.parametrize(
    ("filters", "dense"), [((1, 2), 3), ((0, 1, 2), 3), ((1, 2, 3), 0), ((), 1)]
)
def test_impossible_teacher_widths_are_refused(filters, dense):
    with pytest.raises(UserError, match="three filter counts"):
        urban2017.teacher_of(filters=filters, dense=dense)


def test_recipes_survive_json():
    for recipe in (
        urban2017.teacher(2),
        urban2017.student(budget=Budget(30_000), convs=1),
        urban2017.student(budget=Budget(30_000), hidden=3),
        urban2017.baseline(budget=PUBLISHED[2], convs=3),
        urban2017.baseline(budget=PUBLISHED[2], convs=3, width_rule="rounded"),
    ):
        assert reading.from_json(base.to_json(recipe)) == recipe
    recipe = urban2017.student(budget=PUBLISHED[0], convs=2)
    variant = replace(recipe, training=replace(recipe.training, epochs=20))
    assert variant.architecture == recipe.architecture
