"""Scores over a whole split; every example is counted."""

import numpy as np
from scipy import special

SCORING_BATCH = 500


def predict(model, images: np.ndarray, *, batch_size: int = SCORING_BATCH):
    """Logits of every image, float32 [N, classes], in inference mode.

    Args:
        model: Keras model from pixels 0-255 to logits.
        images: uint8 [N, H, W, C].
        batch_size: images scored at once; changes no value, only speed.
    """
    import keras

    shared = keras.distribution.distribution()
    sharing = 1 if shared is None else shared.device_mesh.devices.size
    # On JAX every batch must divide over the devices: the last image comes again.
    over, batch_size = -len(images) % sharing, batch_size + -batch_size % sharing
    last = images[-1:]
    whole = np.concatenate([images, *[last] * over]) if over else images
    logits = model.predict(whole, batch_size=batch_size, verbose=0)
    return np.asarray(logits, np.float32)[: len(images)]


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of examples whose largest logit is the label's."""
    if len(logits) != len(labels):
        raise ValueError(f"{len(logits)} predictions for {len(labels)} labels")
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def agreement(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Fraction of examples on which student and teacher name the same class."""
    return accuracy(logits, np.argmax(teacher_logits, axis=1))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax, [N, classes], in float64."""
    return special.softmax(np.asarray(logits, np.float64), axis=1)


def confusion(predicted: np.ndarray, labels: np.ndarray, *, classes: int) -> np.ndarray:
    """How often each class [row] was taken for each [column], int64."""
    if len(predicted) != len(labels):
        raise ValueError(f"{len(predicted)} predictions for {len(labels)} labels")
    places = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(places, minlength=classes**2).reshape(classes, classes)


def calibration(
    logits: np.ndarray, labels: np.ndarray, *, bins: int = 15
) -> dict[str, object]:
    """Expected calibration error, sum over bins of n_b/N * |accuracy - confidence|
    (Guo et al. 2017), of the largest softmax probability in bins of equal width.

    Args:
        logits: [N, classes].
        labels: [N].
        bins: of confidence in (0, 1]; a bin holds its upper end.

    Returns:
        "ece", and "bins" from low to high: "low", "high", "count", and "confidence"
        and "accuracy", its means (None for an empty bin).
    """
    likely = probabilities(logits)
    confidence = likely.max(axis=1)
    right = likely.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows, error = [], 0.0
    for place in range(bins):
        here = places == place
        count = int(here.sum())
        row = {"low": place / bins, "high": (place + 1) / bins, "count": count}
        row |= {"confidence": None, "accuracy": None}
        if count:
            row["confidence"] = float(confidence[here].mean())
            row["accuracy"] = float(right[here].mean())
            error += count / len(labels) * abs(row["accuracy"] - row["confidence"])
        rows.append(row)
    return {"ece": error, "bins": rows}
