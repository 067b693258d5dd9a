"""Search ranges of Urban et al. 2017 as data: hyperparameters and layer widths.

Widths are kept per group of layers, as the paper's two width constants address them
(docs/papers/urban2017.md): C1 picks the first group's width, C2 the second's. Groups
are 0 convolutions (MLP-1): fully connected; 1: filters | fully connected;
2: first | second filters; 3: first | second and third; 4: first two | last two.
"""

import math
from dataclasses import dataclass

from kerasdistill.budget import PUBLISHED, Budget


@dataclass(frozen=True)
class Range:
    """A hyperparameter's range; `log` says that it is searched on a log scale."""

    low: float
    high: float
    log: bool = False


# Students on logits have no dropout and no weight decay (docs/papers/urban2017.md).
STUDENT_RANGES = {
    "learning_rate": Range(0.0013, 0.016, log=True),
    "momentum": Range(0.68, 0.97, log=True),
    "input_scale": Range(0.8, 1.25),
    "init_scale": Range(0.4, 2.0),
    "c1": Range(0.0, 1.0),
    "c2": Range(0.0, 1.0),
}

# An MLP's hidden layers have one each; only their proportions matter. The paper says
# (0, 1); a layer twenty times narrower than another is as good as none.
RATIO_RANGE = Range(0.05, 1.0)

# The 10M networks on hard labels.
BASELINE_RANGES = {
    "learning_rate": Range(0.0015, 0.025, log=True),
    "momentum": Range(0.68, 0.97, log=True),
    "dropout_conv_1": Range(0.05, 0.4),
    "dropout_conv_2": Range(0.1, 0.6),
    "dropout_conv_3": Range(0.1, 0.7),
    "dropout_dense": Range(0.1, 0.7),
    "c1": Range(0.0, 1.0),
    "c2": Range(0.0, 1.0),
}
BASELINE_WEIGHT_DECAY = 2e-4

# Teachers; the four widths stand for the constants C1, C2, C3 and H1.
TEACHER_RANGES = {
    "learning_rate": Range(0.01, 0.05, log=True),
    "momentum": Range(0.80, 0.91, log=True),
    "weight_decay": Range(5e-5, 4e-4),
    "init_scale": Range(0.8, 1.35),
    "dropout_conv_1": Range(0.1, 0.3),
    "dropout_conv_2": Range(0.25, 0.35),
    "dropout_conv_3": Range(0.3, 0.44),
    "dropout_dense_1": Range(0.2, 0.65),
    "dropout_dense_2": Range(0.2, 0.65),
    "hue": Range(0.03, 0.11),
    "saturation": Range(0.2, 0.3),
    "value": Range(0.0, 0.2),
    "saturation_scale": Range(0.2, 0.3),
    "value_scale": Range(0.03, 0.2),
    "filters_1": Range(32, 96),
    "filters_2": Range(64, 192),
    "filters_3": Range(128, 384),
    "dense": Range(512, 1536),
}

WidthBounds = tuple[tuple[float, float], ...]

# Table 3, by convolutions, then at 1M, 3.16M, 10M and 31.6M.
STUDENT_WIDTHS: dict[int, tuple[WidthBounds, ...]] = {
    0: (((500, 5000),), ((1000, 20000),), ((5000, 30000),), ((5000, 45000),)),
    1: (
        ((40, 150), (200, 1600)),
        ((50, 300), (100, 4000)),
        ((50, 450), (500, 20000)),
        ((200, 600), (1000, 4100)),
    ),
    2: (
        ((20, 120), (20, 120)),
        ((50, 250), (20, 120)),
        ((50, 350), (20, 120)),
        ((50, 800), (20, 120)),
    ),
    3: (
        ((20, 110), (20, 110)),
        ((40, 200), (40, 200)),
        ((50, 350), (50, 350)),
        ((50, 650), (50, 650)),
    ),
    4: (
        ((25, 100), (25, 100)),
        ((50, 150), (50, 200)),
        ((50, 300), (50, 350)),
        ((50, 500), (50, 650)),
    ),
}

# Appendix on hard-label networks; they were only trained at 10M.
BASELINE_WIDTHS: dict[int, WidthBounds] = {
    1: ((50, 500), (200, 2000)),
    2: ((50, 500), (100, 400)),
    3: ((50, 500), (100, 300)),
    4: ((50, 300), (100, 300)),
}
BASELINE_BUDGET = PUBLISHED[2]


def student_widths(budget: Budget, *, convs: int) -> WidthBounds:
    """Table 3's (low, high) of each width group, for any budget.

    Between two published budgets the logarithm of a bound is interpolated on the
    logarithm of the budget; outside of them the nearest published bounds grow or
    shrink with sqrt(budget), as the weights between two layers are a product of
    two widths. convs is 0 to 4, 0 being the MLP with one hidden layer.
    """
    columns = STUDENT_WIDTHS[convs]
    target = budget.num_params
    if target <= PUBLISHED[0].num_params:
        return _scaled(columns[0], target / PUBLISHED[0].num_params)
    for index, above in enumerate(PUBLISHED[1:], start=1):
        if target <= above.num_params:
            below = PUBLISHED[index - 1].num_params
            share = math.log(target / below) / math.log(above.num_params / below)
            return _between(columns[index - 1], columns[index], share)
    return _scaled(columns[-1], target / PUBLISHED[-1].num_params)


def baseline_widths(budget: Budget, *, convs: int) -> WidthBounds:
    """The baselines' bounds at 10M, times sqrt(budget / 10M) at other budgets.

    An MLP (convs=0) has no published baseline and uses the students' bounds.
    """
    if convs == 0:
        return student_widths(budget, convs=0)
    share = budget.num_params / BASELINE_BUDGET.num_params
    return _scaled(BASELINE_WIDTHS[convs], share)


def _scaled(bounds: WidthBounds, budget_ratio: float) -> WidthBounds:
    factor = math.sqrt(budget_ratio)
    return tuple((low * factor, high * factor) for low, high in bounds)


def _between(below: WidthBounds, above: WidthBounds, share: float) -> WidthBounds:
    def mean(ends: tuple[float, float]) -> float:
        return ends[0] ** (1 - share) * ends[1] ** share

    groups = zip(below, above, strict=True)
    return tuple(tuple(map(mean, zip(*group, strict=True))) for group in groups)
