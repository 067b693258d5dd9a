"""Widths that hardware likes: multiples of 16, below 64 of 8.

Vector units, matrix engines and GPUs work on 8 or 16 values at once and pad what is
left over: 65 filters may cost as much as 80. Of the widths that meet the budget, the
nearest to the exact ones (`urban2017_widths`) are taken whose free widths are such
multiples. So is the solved width where the count stays within 1 %; else it is a
multiple of 8, else any number. A width with no multiple within 15 % of it, such as 11,
stays.
"""

from collections.abc import Callable, Sequence

import numpy as np

from kerasdistill.budget import Budget

_SMALL = 64  # from here on multiples of 16, below of 8
_FARTHEST = 1.15  # no width is more than so many times, or fewer, the exact one
_CHOICES = 5  # of each free width: the nearest ones

Bounds = Sequence[tuple[float, float]]


def nearest(
    budget: Budget,
    params: Callable,
    free: Sequence[int],
    dependent: int,
    *,
    bounds: Bounds | None = None,
    tolerance: float,
) -> tuple[tuple[int, ...], int]:
    """The free widths and the dependent one, rounded; as they are where no others
    meet the budget.

    Args:
        params: (free, dependent) -> count of parameters, linear in `dependent`; free
            widths may be arrays.
        free: the exact widths; rounded ones differ from them by 15 % at most.
        dependent: the width solved for them; the same holds for it.
        bounds: of each free width; rounded ones leave them no more than exact ones.
        tolerance: largest part of the budget that a count may differ by.
    """
    bounds = bounds or [(1, np.inf)] * len(free)
    axes = [_choices(w, *ends) for w, ends in zip(free, bounds, strict=True)]
    widths = [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]
    without = params(widths, 0)
    each = params(widths, 1) - without
    wanted = np.maximum(1, (budget.num_params - without) / each)
    far = sum(_distance(w, exact) for w, exact in zip(widths, free, strict=True))
    for step in (16, 8, 1):
        steps = np.where(wanted < _SMALL, min(step, 8), step)
        below = (wanted // steps * steps).astype(np.int64)
        for_all = np.maximum(1, [below, below + steps])
        errors = np.abs(without + each * for_all - budget.num_params)
        distances = far + _distance(for_all, dependent)
        met = errors <= tolerance * budget.num_params
        near = _distance(for_all, dependent) <= _distance(_FARTHEST, 1)
        distances = np.where(met & near, distances, np.inf)
        row, best = np.unravel_index(distances.argmin(), distances.shape)
        if distances[row, best] < np.inf:
            return tuple(int(w[best]) for w in widths), int(for_all[row, best])
    return tuple(free), dependent


def _choices(width: int, low: float, high: float) -> np.ndarray:
    """The nearest multiples within the bounds; the width itself if there is none."""
    step = 8 if width < _SMALL else 16
    near = (width // step + np.arange(1 - _CHOICES, 1 + _CHOICES)) * step
    near = near[(near >= max(1, min(low, width))) & (near <= max(high, width))]
    near = near[near % np.where(near < _SMALL, 8, 16) == 0]
    near = near[_distance(near, width) <= _distance(_FARTHEST, 1)]
    nearest_first = np.argsort(_distance(near, width), kind="stable")
    return near[nearest_first][:_CHOICES] if len(near) else np.array([width])


def _distance(width, other):
    return np.log(width / other) ** 2
