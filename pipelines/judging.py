"""What a model's values on real images say of it: numbers alone, no names of layers.

Each function returns what is wrong as a `Finding`, or None.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

# Half-precision probabilities lie in [0, 1] and add up to 1 only this roughly.
_OUTSIDE, _SUM = 1e-3, 2e-2
# Root mean square, around each image's mean, that no trained network's logits have.
ABSURD_LOGITS = 100.0
_SURE = 1 - 1e-6  # a softmax that has saturated
# Images of a class, from which on its absence says something.
_ENOUGH = 10
_MOST_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """What is wrong, in words that follow the model's name.

    `certain`: it cannot be right; otherwise it is only suspicious. `kind`: what the
    values are instead of what they were declared to be.
    """

    text: str
    certain: bool = False
    kind: str | None = None


def of_output(values: np.ndarray, declared: str) -> Finding | None:
    """Whether values [N, K] are the "logits", "probabilities" (they add up to 1) or
    "sigmoid" (each in [0, 1]) that they were declared to be."""
    if not np.isfinite(values).all():
        return Finding(
            f"gives NaN or infinite {declared}; it has diverged, or met pixels that it "
            "cannot take: train it again",
            certain=True,
        )
    low, high, sums = float(values.min()), float(values.max()), values.sum(axis=1)
    inside = low >= -_OUTSIDE and high <= 1 + _OUTSIDE
    add_up = values.shape[1] > 1 and bool(np.allclose(sums, 1.0, atol=_SUM))
    spread = f"values from {low:.3g} to {high:.3g}"
    if declared == "logits":
        if inside and add_up:
            return Finding(
                "outputs probabilities, expected logits: of each image they add up "
                "to 1; save it without its final softmax, or say so with "
                "`convention.output='probabilities'`",
                certain=True,
                kind="probabilities",
            )
        if inside and high > low:
            return Finding(
                f"outputs {spread}, as sigmoids are, expected logits; say so with "
                "`convention.output='sigmoid'`",
                kind="sigmoid",
            )
    elif not inside:
        return Finding(
            f"outputs {spread}, which are outside of 0 to 1 and not {declared}; leave "
            "out `convention.output`",
            certain=True,
        )
    elif declared == "probabilities" and values.shape[1] > 1 and not add_up:
        return Finding(
            f"outputs {spread} that add up to {sums.min():.3g} to {sums.max():.3g} an "
            "image, and probabilities add up to 1; for one sigmoid for each class say "
            "`convention.output='sigmoid'`",
            certain=True,
        )
    return None


def of_student(logits: np.ndarray) -> Finding | None:
    """Whether an untrained student's outputs [N, K] can become any logits."""
    found = of_output(logits, "logits")
    if found is not None:
        if not np.isfinite(logits).all():
            return found
        what = "softmax" if found.certain else "sigmoid"
        return Finding(
            f"ends in a {what}: its outputs are "
            f"{'probabilities' if found.certain else 'all between 0 and 1'}, expected "
            f"logits; save it without the {what}",
            certain=found.certain,
        )
    if np.allclose(special.logsumexp(logits, axis=1), 0.0, atol=1e-3):
        return Finding(
            "ends in a log-softmax, which cannot reach a teacher's logits; save it "
            "without"
        )
    if logits.min() >= 0 and (logits == 0).any() and logits.max() > 0:
        return Finding(
            "ends in a ReLU: its outputs are never negative, expected logits; save it "
            "without"
        )
    return None


def of_size(logits: np.ndarray) -> Finding | None:
    """Whether logits [N, K] are so large that a loss on them would be absurd."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.mean(np.square(centred, dtype=np.float64))))
    if size <= ABSURD_LOGITS:
        return None
    return Finding(
        f"gives logits of {size:,.0f} (root mean square), where trained networks have "
        "1 to 30; does it know pixels of 0 to 1? say so with `convention.input='0-1'`"
    )


def of_answers(first: np.ndarray, second: np.ndarray) -> float:
    """How far two answers [N, K] to the same images lie apart, relative to the first's
    standard deviation (or 1e-6 where that is smaller)."""
    apart = float(np.max(np.abs(np.asarray(first, np.float64) - second)))
    return apart / max(float(np.std(first)), 1e-6)


def of_scale(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, declared: str
) -> Finding | None:
    """Whether another scale of pixels than the declared one is clearly better *and*
    above chance.

    Args:
        logits: [N, K] by scale.
        labels: [N].
        declared: the scale that was.
    """
    count, classes = logits[declared].shape
    losses = {name: _cross_entropies(each, labels) for name, each in logits.items()}
    right = {name: _right(each, labels).mean() for name, each in logits.items()}
    chance, uniform = 1 / classes, math.log(classes)
    noise = math.sqrt(chance * (1 - chance) / count)
    here = losses[declared].mean()
    # A wrong scale that softens answers may lower the cross-entropy more.
    best = max(losses, key=lambda name: (right[name], -losses[name].mean()))
    gain = losses[declared] - losses[best]
    if (
        gain.mean() <= max(0.1, 4 * gain.std() / math.sqrt(count))
        or losses[best].mean() >= uniform
        or right[best] <= chance + max(0.05, 3 * noise)
        or not (here > uniform or here > 2 * losses[best].mean())
    ):
        return None
    return Finding(
        f"was given pixels {declared} and seems to know {best}: its cross-entropy with "
        f"the labels is {here:.3g} ({right[declared]:.1%} right) on the former, "
        f"{losses[best].mean():.3g} ({right[best]:.1%} right) on the latter; say so "
        f"with `convention.input='{best}'`"
    )


def of_saturation(logits: Mapping[str, np.ndarray], declared: str) -> Finding | None:
    """As `of_scale` without labels: whether the declared scale makes every answer
    certain, or always the same, and another doesn't."""
    sure = {name: _saturated(each) for name, each in logits.items()}
    kinds = {name: len(np.unique(each.argmax(1))) for name, each in logits.items()}
    others = [
        name
        for name in logits
        if name != declared
        and kinds[name] >= max(2, kinds[declared])
        and (sure[name] < sure[declared] / 2 or kinds[declared] == 1)
    ]
    if not others or (sure[declared] < 0.9 and kinds[declared] > 1):
        return None
    best = max(others, key=lambda name: kinds[name])
    return Finding(
        f"was given pixels {declared} and seems to know {best}: it names "
        f"{kinds[declared]} classes with {sure[declared]:.0%} saturated answers on the "
        f"former, {kinds[best]} with {sure[best]:.0%} on the latter; say so with "
        f"`convention.input='{best}'`"
    )


def of_classes(matrix: np.ndarray, names: Sequence[str]) -> list[Finding]:
    """Classes in another order, and classes that are never said.

    Args:
        matrix: how often each class [row] was taken for each [column].
        names: of the classes.
    """
    found, counts = [], matrix.sum(axis=1)
    taken, share = matrix.argmax(axis=1), matrix.max(axis=1) / np.maximum(counts, 1)
    moved = [
        place
        for place in range(len(names))
        if counts[place] >= _ENOUGH and share[place] >= 0.5 and taken[place] != place
    ]
    # One that is mistaken for another is no sign while the other keeps its place.
    swapped = [place for place in moved if taken[place] in moved]
    if swapped:
        told = [
            f"{names[place]!r} is called {names[taken[place]]!r} "
            f"({matrix[place, taken[place]]} of {counts[place]})"
            for place in swapped
        ]
        found.append(Finding(f"knows the classes in another order: {_some(told)}"))
    said = matrix.sum(axis=0)
    silent = np.flatnonzero((counts >= _ENOUGH) & (said == 0))
    if len(silent):
        told = [f"{names[place]!r} (0 of {counts[place]})" for place in silent]
        found.append(Finding(f"never says {_some(told)}"))
    return found


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_NAMED
    return ", ".join(texts[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logs = special.log_softmax(np.asarray(logits, np.float64), axis=1)
    return -np.maximum(logs[np.arange(len(labels)), labels], -1e6)


def _right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return logits.argmax(axis=1) == labels


def _saturated(logits: np.ndarray) -> float:
    likely = special.softmax(np.asarray(logits, np.float64), axis=1).max(axis=1)
    return float((likely > _SURE).mean())
