"""Whether an export answers as the model does."""

from typing import Any

import keras
import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.models.summary import leaf_layers

# Largest difference allowed between a model and its reloaded export, relative to the
# largest logit. Both run the same kernels, so anything more is a broken export.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2}
# Kernels other than TensorFlow's add in another order; relative to the largest logit.
CONVERTED_TOLERANCE = 1e-4


def tolerance_of(model: keras.Model) -> float:
    """The largest difference allowed, by the coarsest format the model computes in."""
    formats = {layer.compute_dtype for layer in leaf_layers(model)}
    return max(TOLERANCE.get(name, 0.0) for name in formats | {"float32"})


def steady(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The model's logits of images; UserError if another call gives others."""
    logits, again = (evaluation.predict(model, images) for _ in range(2))
    off, largest = np.abs(logits - again).max(), np.abs(logits).max()
    if not off <= tolerance_of(model) * max(largest, 1.0):
        raise UserError(
            f"model {model.name} gives other logits (by {off:.3g}) when it sees the "
            "same images again: one of its layers draws random numbers or trains "
            "(training=True) in inference too; take that out; nothing was written"
        )
    return logits


def compared(
    expected: np.ndarray,
    logits: np.ndarray,
    *,
    tolerance: float,
    what: str = "the exported model's logits",
    original: str = "the original's",
) -> dict[str, Any]:
    """An export's parity; UserError if its logits [N, classes] differ from those
    expected by more than `tolerance` of the largest logit, or of 1 if that is smaller;
    it says `what` differs from which `original`.
    """
    largest = float(np.max(np.abs(expected)))
    allowed = tolerance * max(largest, 1.0)
    difference = float(np.max(np.abs(expected - logits)))
    if not difference <= allowed:
        raise UserError(
            f"{what} differ by {difference:.3g} from {original}, more than "
            f"{allowed:.3g}"
        )
    return {
        "largest_difference": difference,
        "largest_logit": largest,
        "tolerance": allowed,
        "num_examples": len(expected),
    }
