import numpy as np

from kerasdistill.experiments import ensemble


def logits_of(classes, confidence=1.0):
    return confidence * np.eye(3, dtype="f4")[list(classes)]


def test_top_keeps_the_most_accurate_and_ties_go_by_name():
    accuracies, names = [0.5, 0.9, 0.7, 0.9], ["a", "z", "c", "b"]
    assert ensemble.top(accuracies, names, 3) == [3, 1, 2]
    assert ensemble.top(accuracies, names, 9) == [3, 1, 2, 0]


def test_greedy_takes_what_helps_the_ensemble_not_what_is_good_alone():
    labels = np.array([0, 1, 2, 0, 1, 2])
    best = logits_of([0, 1, 2, 0, 2, 1])  # 4 of 6, wrong on the last two
    twin = logits_of([0, 1, 2, 0, 2, 1])  # as good, wrong on the same
    other = logits_of([1, 2, 0, 0, 1, 2], confidence=0.9)  # 3, right on those two
    # Alone the twin is better, but only the other mends the best one's mistakes.
    assert ensemble.greedy([best, twin, other], labels, ["a", "b", "c"], 2) == [0]
    mending = logits_of([1, 2, 0, 0, 1, 2], confidence=1.1)
    mending[:4] *= 0.5
    candidates = [best, twin, mending]
    assert ensemble.greedy(candidates, labels, ["a", "b", "c"], 3) == [0, 2]


def test_greedy_breaks_ties_by_name_and_keeps_to_the_size():
    labels = np.array([0, 1, 2])
    half = [logits_of([0, 1, 1]), logits_of([0, 1, 1]), logits_of([0, 0, 2], 1.5)]
    assert ensemble.greedy(half, labels, ["b", "a", "c"], 1) == [1]
    assert ensemble.greedy(half, labels, ["b", "a", "c"], 3)[0] == 1
