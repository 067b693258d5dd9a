"""Successive halving on validation curves: which trial is worth going on with.

Asynchronous, as in Li et al., MLSys 2020: at each rung, an epoch, a trial is compared
with those that have been there, without waiting for others to come. So what becomes of
a trial depends on the trials before it alone, and a search that was interrupted decides
as one that was not.
"""

import statistics
from collections.abc import Sequence

FIRST_RUNG = 4  # epochs; then 8, 16, 32 and so on
FEWEST_OTHERS = 3  # with fewer at the rung, every trial goes on


def is_rung(epoch: int) -> bool:
    """Whether trials are compared after this epoch, counted from 1."""
    doubled = FIRST_RUNG
    while doubled < epoch:
        doubled *= 2
    return doubled == epoch


def hopeless(curve: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether a trial's best so far is below the median of the others' at its epoch.

    Args:
        curve: the trial's validation accuracy after each of its epochs.
        others: the curves of trials before it, those cut short included.

    Returns:
        False anywhere but at a rung that at least three others have reached.
    """
    epoch = len(curve)
    if not is_rung(epoch):
        return False
    reached = [max(other[:epoch]) for other in others if len(other) >= epoch]
    if len(reached) < FEWEST_OTHERS:
        return False
    return max(curve) < statistics.median(reached)
