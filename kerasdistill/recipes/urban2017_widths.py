"""From a budget and the free choices to all widths of a student.

The proposal is the paper's: width constants map linearly into the bounds and the
last width is solved. Where that misses the budget by more than 1 % (small budgets,
where one unit weighs much, or unusual images) the nearest choice that does not is
taken. At the published budgets the paper's boxes never need it.

These are the exact widths. Rounded ones lie near them: `urban2017_rounded`.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from kerasdistill.budget import (
    Budget,
    ImageShape,
    hidden_widths,
    student_params,
    too_small,
)
from kerasdistill.errors import UserError
from kerasdistill.recipes import urban2017_rounded
from kerasdistill.recipes.base import WidthRule
from kerasdistill.recipes.urban2017_bounds import WidthBounds

TOLERANCE = 0.01

# The free widths leave the solved layer this share of the budget at the least. The
# published boxes never leave less than 0.2, so it only acts on other image shapes,
# class counts and kernels, where a proposal could eat up the whole budget.
_DEPENDENT_SHARE = 0.15
_GRID_POINTS = 700  # steps of about 1.5 %, all whole numbers below that

Widths = tuple[tuple[int, ...], tuple[int, ...], int | None]


def solved(
    budget: Budget,
    bounds: WidthBounds,
    constants: Sequence[float],
    *,
    convs: int,
    rule: WidthRule = "exact",
    **sizes: Any,
) -> Widths:
    """(filters, hidden, bottleneck) of a student with 0 to 4 convolutions.

    Free widths are round(low + constant * (high - low)); 0 convolutions stand for
    the MLP with one hidden layer and a bottleneck. With the rule "rounded" they, and
    the solved width, move to multiples. `sizes` are the kernel, image_shape and
    num_classes of `budget.student_params`.

    Raises:
        UserError: a constant is outside 0 to 1, or no widths come within 1 % of the
            budget; the message then names the smallest possible budget.
    """
    for name, constant in zip(("c1", "c2"), constants, strict=False):
        if not 0 <= constant <= 1:
            raise UserError(f"{name} is {constant}; expected 0 to 1, such as 0.5")

    count = partial(student_params, pool=pooling(convs), **sizes)

    def params(free, dependent):
        return count(*_layout(convs, free, dependent))

    pairs = zip(bounds, constants, strict=False)
    proposal = np.array([low + share * (high - low) for (low, high), share in pairs])
    most = (1 - _DEPENDENT_SHARE) * budget.num_params
    while params(_whole(proposal), 0) > most and proposal.max() > 1:
        proposal *= 0.95
    widths = _nearest(budget, params, _whole(proposal))
    if rule == "rounded":
        how = {"bounds": bounds, "tolerance": TOLERANCE}
        widths = urban2017_rounded.nearest(budget, params, *widths, **how)
    return _layout(convs, *widths)


def hidden_only(
    budget: Budget,
    ratios: Sequence[float],
    *,
    image_shape: ImageShape,
    num_classes: int,
    rule: WidthRule = "exact",
) -> tuple[int, ...]:
    """Widths of an MLP with two or more ReLU layers and no bottleneck.

    With the rule "rounded" all move to multiples; the first layer, which has most of
    the parameters, is solved for the others.

    Raises:
        UserError: a ratio is not positive, or no widths come within 1 % of the
            budget; the message then names the smallest possible budget.
    """
    if not all(np.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise UserError(f"ratios {tuple(ratios)} are not all above 0, such as 1,1,0.5")

    inputs = math.prod(image_shape)
    sizes = {"image_shape": image_shape, "num_classes": num_classes}
    none = {"filters": (), "bottleneck": None, "kernel": 1, "pool": pooling(0)}

    def count(hidden):
        return student_params(hidden=hidden, **none, **sizes)

    widths = hidden_widths(
        budget, ratios=ratios, inputs=inputs, num_classes=num_classes
    )
    if abs(budget.error(count(widths))) > TOLERANCE:
        widths = _in_proportion(budget, ratios, count, widths)
    if rule == "rounded":
        first, *others = widths
        others, first = urban2017_rounded.nearest(
            budget,
            lambda others, first: count((first, *others)),
            others,
            first,
            tolerance=TOLERANCE,
        )
        widths = (first, *others)
    return widths


def _in_proportion(
    budget: Budget, ratios: Sequence[float], count: Callable, widths: Sequence[int]
) -> tuple[int, ...]:
    """The widths of an MLP nearest to these that meet the budget."""

    # One unit of the first layer costs all its inputs, so it is moved on its own;
    # the layers between keep their proportions and the last one takes what is left.
    def layout(free, dependent):
        between = [_whole(free[-1] * (r / max(ratios[1:-1]))) for r in ratios[1:-1]]
        return (free[0], *between, dependent)

    proposal = np.array([widths[0], *sorted(widths[1:-1])[-1:]])
    nearest = _nearest(budget, lambda *widths: count(layout(*widths)), proposal)
    return tuple(int(width) for width in layout(*nearest))


def pooling(convs: int) -> int:
    """Side and stride of the poolings: 3 with one convolution, else 2."""
    return 3 if convs == 1 else 2


def _layout(convs: int, free, dependent) -> tuple:
    if convs == 0:
        return (), (free[0],), dependent
    if convs == 1:
        return (free[0],), (free[1],), dependent
    first, second = free
    firsts, seconds = {2: (1, 1), 3: (1, 2), 4: (2, 2)}[convs]
    return (first,) * firsts + (second,) * seconds, (dependent,), None


def _whole(widths: np.ndarray) -> np.ndarray:
    return np.maximum(1, np.rint(widths)).astype(np.int64)


def _nearest(
    budget: Budget, params: Callable, proposal: np.ndarray
) -> tuple[tuple[int, ...], int]:
    """The free widths nearest to the proposal (by ratio) that meet the budget, and
    the dependent width that params(free, dependent) is solved for."""
    target = budget.num_params
    smallest = int(params(np.ones_like(proposal), 1))
    if target < smallest:
        raise too_small(budget, smallest)
    for free in ([np.array([width]) for width in proposal], _grid(proposal)):
        without = params(free, 0)
        each = params(free, 1) - without
        dependent = np.maximum(1, np.rint((target - without) / each)).astype(np.int64)
        counts = without + each * dependent
        errors = np.abs(counts - target) / target
        pairs = zip(free, proposal, strict=True)
        distances = sum(np.log(widths / wanted) ** 2 for widths, wanted in pairs)
        best = np.where(errors <= TOLERANCE, distances, np.inf).argmin()
        if errors[best] <= TOLERANCE:
            return tuple(int(widths[best]) for widths in free), int(dependent[best])
    raise UserError(
        f"no widths of this model come within 1 % of budget {target}; the nearest "
        f"count is {counts[errors.argmin()]}, the smallest possible budget is "
        f"{smallest}"
    )


def _grid(proposal: np.ndarray) -> list[np.ndarray]:
    ends = np.maximum(4096, 4 * proposal)
    axes = [np.unique(np.rint(np.geomspace(1, end, _GRID_POINTS))) for end in ends]
    grids = np.meshgrid(*axes, indexing="ij")
    return [grid.ravel().astype(np.int64) for grid in grids]
