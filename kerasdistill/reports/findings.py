"""What can be seen in logits: numbers only, as JSON values (for `inspect`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasdistill import evaluation

BINS = 10
MOST_PAIRS = 10
CLOSE = 0.2  # a second choice with so much probability is a doubt


def confidence(logits: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    """How sure logits [N, classes] are, and how often right, of labels [N] if any.

    Returns:
        "mean" and "histogram" of the largest probability: per tenth its "low", "high",
        "count", and "right", how many of these name the label (None without labels).
    """
    top = evaluation.probabilities(logits).max(axis=1)
    places = np.minimum((top * BINS).astype(int), BINS - 1)
    counts = np.bincount(places, minlength=BINS).tolist()
    right = [None] * BINS
    if labels is not None:
        named = places[logits.argmax(axis=1) == labels]
        right = np.bincount(named, minlength=BINS).tolist()
    return {
        "mean": float(top.mean()),
        "histogram": [
            {
                "low": place / BINS,
                "high": (place + 1) / BINS,
                "count": counts[place],
                "right": right[place],
            }
            for place in range(BINS)
        ],
    }


def shares(values: Sequence[float]) -> list[dict[str, Any]]:
    """A histogram in ten bins between the smallest and the largest of fractions."""
    counts, edges = np.histogram(values, bins=BINS)
    return [
        {"low": float(low), "high": float(high), "count": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def confused(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The pairs that are mistaken most often: "label", "taken_for", "count" and
    "fraction" of the label's examples."""
    off = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    order = np.argsort(off, axis=None, kind="stable")[::-1][:MOST_PAIRS]
    rows, columns = np.unravel_index(order, off.shape)
    return [
        {
            "label": names[row],
            "taken_for": names[column],
            "count": int(off[row, column]),
            "fraction": float(off[row, column] / matrix[row].sum()),
        }
        for row, column in zip(rows, columns, strict=True)
        if off[row, column]
    ]


def doubts(logits: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Without labels: pairs of first and second choice where the second has at least
    `CLOSE` of the probability; fields as `confused` has."""
    likely = evaluation.probabilities(logits)
    first, second = np.argsort(likely, axis=1)[:, ::-1][:, :2].T
    close = likely[np.arange(len(likely)), second] >= CLOSE
    matrix = evaluation.confusion(second[close], first[close], classes=len(names))
    of_class = np.bincount(first, minlength=len(names))
    pairs = confused(matrix, names)
    for pair in pairs:
        pair["fraction"] = pair["count"] / int(of_class[names.index(pair["label"])])
    return pairs


def per_class(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracy of each class (None where it has no example)."""
    rows = []
    for place, name in enumerate(names):
        count = int(matrix[place].sum())
        accuracy = float(matrix[place, place] / count) if count else None
        rows.append({"class": name, "count": count, "accuracy": accuracy})
    return rows


def disagreement(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Where two models' logits [N, classes] part: counts of who is right of labels
    [N], and the places, [N] indices, of the disagreements, from the one of which the
    student is surest."""
    mine, other = student.argmax(axis=1), teacher.argmax(axis=1)
    apart = mine != other
    sure = evaluation.probabilities(student).max(axis=1)
    places = np.flatnonzero(apart)
    places = places[np.argsort(-sure[places], kind="stable")]
    right, teacher_right = mine == labels, other == labels
    return {
        "agreement": float(1 - apart.mean()),
        "count": int(apart.sum()),
        "both_right": int((right & teacher_right).sum()),
        "student_alone_right": int((right & apart).sum()),
        "teacher_alone_right": int((teacher_right & apart).sum()),
        "both_wrong": int((~right & ~teacher_right).sum()),
        "places": places.tolist(),
    }


def top_three(logits: np.ndarray, names: Sequence[str]) -> list[str]:
    """The three likeliest classes of each example: "cat 71 %, dog 20 %, ox 3 %"."""
    likely = evaluation.probabilities(logits)
    order = np.argsort(-likely, axis=1, kind="stable")[:, :3]
    return [
        ", ".join(f"{names[place]} {100 * row[place]:.0f} %" for place in places)
        for row, places in zip(likely, order, strict=True)
    ]
