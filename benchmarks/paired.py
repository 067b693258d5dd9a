"""Medians, gains and chances of paired searches, with bootstrap intervals."""

from collections.abc import Callable, Sequence

import numpy as np

DRAWS = 10_000
Interval = tuple[float, float, float]  # estimate, and what 95 % of the draws are within


def median(values: Sequence[float]) -> Interval:
    """Of values, such as a searcher's at each seed."""
    return _interval(np.array(values)[:, None], lambda each: np.median(each, axis=-2))


def gain(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Mean difference of pairs."""
    pairs = np.array([ours, theirs]).T
    return _interval(pairs[:, :1] - pairs[:, 1:], lambda each: np.mean(each, axis=-2))


def chance(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """How often ours is above theirs of the same seed; ties count half."""
    ours, theirs = np.array(ours), np.array(theirs)
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    return _interval(wins[:, None], lambda each: np.mean(each, axis=-2))


def _interval(
    rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> Interval:
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(rows), size=(DRAWS, len(rows)))
    low, high = np.quantile(statistic(rows[chosen]), [0.025, 0.975])
    return float(statistic(rows)[0]), float(low), float(high)
