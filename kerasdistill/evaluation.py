"""Scores over a whole split; every example is counted."""

import numpy as np

SCORING_BATCH = 500


def predict(model, images: np.ndarray, *, batch_size: int = SCORING_BATCH):
    """Logits of every image, float32 [N, classes], in inference mode.

    Args:
        model: Keras model from pixels 0-255 to logits.
        images: uint8 [N, H, W, C].
        batch_size: images scored at once; changes no value, only speed.
    """
    return np.asarray(
        model.predict(images, batch_size=batch_size, verbose=0), np.float32
    )


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of examples whose largest logit is the label's."""
    if len(logits) != len(labels):
        raise ValueError(f"{len(logits)} predictions for {len(labels)} labels")
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def agreement(logits: np.ndarray, teacher_logits: np.ndarray) -> float:
    """Fraction of examples on which student and teacher name the same class."""
    return accuracy(logits, np.argmax(teacher_logits, axis=1))
