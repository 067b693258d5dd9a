"""Which teachers become members of the super teacher, by validation data alone."""

from collections.abc import Sequence

import numpy as np

from kerasdistill import evaluation

PAPER_SIZE = 16  # Urban et al. keep 16 of 129 teachers (fact sheet A1)


def top(accuracies: Sequence[float], names: Sequence[str], size: int) -> list[int]:
    """The `size` most accurate candidates, the paper's rule.

    Args:
        accuracies: validation accuracy of each candidate.
        names: what breaks ties: the name that sorts first wins.
        size: how many to keep; all of them if there are fewer.

    Returns:
        Positions of the chosen, best first.
    """
    ranked = sorted(range(len(names)), key=lambda i: (-accuracies[i], names[i]))
    return ranked[:size]


def greedy(
    votes: Sequence[np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
    size: int,
) -> list[int]:
    """Forward selection: each time the candidate that helps the ensemble most.

    Begins with the most accurate candidate; every further one is the candidate not
    yet chosen whose votes, averaged with those of the chosen, give the highest
    validation accuracy. Ends at `size`, or as soon as no candidate makes the
    ensemble more accurate (Caruana et al., ICML 2004, without replacement, because
    members count alike in the mean).

    Args:
        votes: what is averaged of each candidate, on the validation images: logits
            or probabilities, [N, classes].
        labels: int64 [N].
        names: what breaks ties: the name that sorts first wins.
        size: most members.

    Returns:
        Positions of the chosen, in the order they were taken.
    """
    chosen: list[int] = []
    total, reached = np.zeros_like(votes[0]), -1.0
    while len(chosen) < min(size, len(names)):
        left = [i for i in range(len(names)) if i not in chosen]
        # The sum names the same classes as the mean.
        scores = {i: evaluation.accuracy(total + votes[i], labels) for i in left}
        best = min(left, key=lambda i: (-scores[i], names[i]))
        if scores[best] <= reached:
            break
        reached = scores[best]
        total = total + votes[best]
        chosen.append(best)
    return chosen
