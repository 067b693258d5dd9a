import pytest

from kerasdistill import budget as budgets
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError

CIFAR = {"image_shape": (32, 32, 3), "num_classes": 10}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10M", 10_000_000),
        ("3.16M", 3_160_000),
        ("31.6M", 31_600_000),
        ("31.6m", 31_600_000),
        ("1e6", 1_000_000),
        ("1.5E+6", 1_500_000),
        ("250000", 250_000),
        ("250k", 250_000),
        (" 0.007k ", 7),
        ("2.9M", 2_900_000),
        ("1e12", 10**12),
    ],
)
def test_parse_reads_exactly_what_is_written(text, count):
    parsed = Budget.parse(text)
    assert parsed == Budget(count)
    assert type(parsed.num_params) is int


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "ten",
        "-1M",
        "0",
        "0M",
        "1.5",
        "3.1415k",
        "1e-3",
        "1e13",
        "1e99",
        "10MB",
        "10 000",
        "1,000",
        "1.2.3M",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "9" * 5000,
    ],
)
def test_parse_refuses_other_text_in_one_line(text):
    with pytest.raises(UserError) as refusal:
        Budget.parse(text)
    message = str(refusal.value)
    assert repr(text) in message and "expected" in message and "10M" in message
    assert "\n" not in message


@pytest.mark.parametrize("count", [0, -5, 10**12 + 1, 1.5, True, "10M"])
def test_a_budget_is_a_positive_whole_number(count):
    with pytest.raises(UserError, match="whole number"):
        Budget(count)


def test_error_is_relative_to_the_budget():
    assert Budget(200).error(202) == pytest.approx(0.01)
    assert Budget(200).error(190) == pytest.approx(-0.05)


def test_published_budgets():
    parsed = tuple(map(Budget.parse, ("1M", "3.16M", "10M", "31.6M")))
    assert budgets.PUBLISHED == parsed


def test_convolution_params_by_hand():
    assert budgets.convolution_params((8,), kernel=5, channels=3) == 75 * 8 + 8
    two = budgets.convolution_params((8, 6), kernel=3, channels=3)
    assert two == (27 * 8 + 8) + (9 * 8 * 6 + 6)
    assert budgets.convolution_params((), kernel=3, channels=3) == 0


@pytest.mark.parametrize(
    ("convs", "pool", "pixels"),
    [(0, 2, 1024), (1, 3, 100), (1, 2, 256), (2, 2, 64), (3, 2, 16), (4, 2, 16)],
)
def test_flat_pixels_follow_the_papers_trace(convs, pool, pixels):
    assert budgets.flat_pixels((32, 32, 3), convs=convs, pool=pool) == pixels


def test_flat_pixels_floor_each_side():
    assert budgets.flat_pixels((28, 17, 3), convs=1, pool=3) == 9 * 5
    assert budgets.flat_pixels((28, 17, 3), convs=3, pool=2) == 3 * 2


def test_flat_pixels_refuses_images_that_vanish():
    with pytest.raises(UserError, match="8x8 pixels or more"):
        budgets.flat_pixels((8, 7, 3), convs=3, pool=2)
    with pytest.raises(UserError, match="convs 5"):
        budgets.flat_pixels((32, 32, 3), convs=5, pool=2)


# The right-hand sides are the formulas of docs/papers/urban2017.md, written once more.


def test_mlp_with_bottleneck_by_hand():
    count = budgets.student_params((), (5000,), 1172, **CIFAR, kernel=5, pool=2)
    assert count == 3073 * 1172 + 1173 * 5000 + 5001 * 10


def test_one_convolution_with_bottleneck_by_hand():
    count = budgets.student_params((250,), (10250,), 280, **CIFAR, kernel=5, pool=3)
    conv = 75 * 250 + 250
    assert count == conv + (100 * 250 + 1) * 280 + 281 * 10250 + 10251 * 10
    assert Budget(10_000_000).error(count) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize(
    ("filters", "pixels"), [((70, 60), 64), ((50, 60, 70), 16), ((40, 50, 60, 70), 16)]
)
@pytest.mark.parametrize("kernel", [3, 5])
def test_convolutions_by_hand(filters, pixels, kernel):
    count = budgets.student_params(
        filters, (900,), None, **CIFAR, kernel=kernel, pool=2
    )
    conv, before = 0, 3
    for width in filters:
        conv += kernel * kernel * before * width + width
        before = width
    assert count == conv + (pixels * filters[-1] + 1) * 900 + 901 * 10


def test_other_shapes_and_class_counts():
    shape = {"image_shape": (28, 30, 1), "num_classes": 100}
    count = budgets.student_params((20, 30), (50,), None, **shape, kernel=5, pool=2)
    conv = (25 * 20 + 20) + (25 * 20 * 30 + 30)
    assert count == conv + (7 * 7 * 30 + 1) * 50 + 51 * 100
    shape = {"image_shape": (8, 8, 1), "num_classes": 4}
    count = budgets.student_params((), (900,), 7, **shape, kernel=5, pool=2)
    assert count == 65 * 7 + 8 * 900 + 901 * 4


# The paper's budgets are powers of sqrt(10), printed as 3.16M and 31.6M; the widths
# were worked out for the unrounded ones. 1383 for four layers at 10M, which was
# printed once, is one too many: u = (sqrt(3086^2 + 12 * 9999990) - 3086) / 6 = 1382.47.
@pytest.mark.parametrize(
    ("layers", "widths"),
    [
        (2, (296, 812, 1976, 4289)),
        (3, (275, 704, 1594, 3279)),
        (4, (259, 634, 1382, 2773)),
        (5, (246, 583, 1242, 2452)),
    ],
)
def test_equal_hidden_layers(layers, widths):
    exact = (1_000_000, 3_162_278, 10_000_000, 31_622_777)
    for target, width in zip(exact, widths, strict=True):
        solved = budgets.hidden_widths(
            Budget(target), ratios=(1.0,) * layers, inputs=3072
        )
        assert solved == (width,) * layers


def test_hidden_ratios_matter_by_proportion_only():
    ratios = (0.9, 0.3, 0.6)
    once = budgets.hidden_widths(Budget(3_160_000), ratios=ratios, inputs=3072)
    halved = [ratio / 2 for ratio in ratios]
    assert once == budgets.hidden_widths(Budget(3_160_000), ratios=halved, inputs=3072)
    assert once[0] / once[1] == pytest.approx(3, rel=0.01)
    assert once[2] / once[1] == pytest.approx(2, rel=0.01)


def test_one_hidden_layer_without_bottleneck():
    assert budgets.hidden_widths(Budget(308_410), ratios=(1.0,), inputs=3073) == (100,)


def test_hidden_widths_refuse_what_is_too_small():
    smallest = 3073 + 2 + 2 + 20
    widths = budgets.hidden_widths(Budget(smallest), ratios=(1, 1, 1), inputs=3072)
    assert widths == (1, 1, 1)
    with pytest.raises(UserError, match=f"smallest possible budget is {smallest}"):
        budgets.hidden_widths(Budget(smallest - 1), ratios=(1, 1, 1), inputs=3072)
