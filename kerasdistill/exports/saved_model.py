"""A student alone, as a SavedModel that anything can serve."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.files import replacing_directory
from kerasdistill.models.summary import leaf_layers
from kerasdistill.plain_paths import plain

# Largest difference allowed between a model and its reloaded export, relative to the
# largest logit. Both run the same kernels, so anything more is a broken export.
TOLERANCE = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2}


def export_saved_model(
    model: keras.Model,
    path: str | Path,
    *,
    card: dict[str, Any],
    images: np.ndarray,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Writes `model` alone as a SavedModel, reloads it and compares.

    The signature `serving_default` takes uint8 images [batch, H, W, C] (argument
    "image") and returns float32 "logits" [batch, classes].

    Args:
        model: takes pixels 0-255, gives logits.
        path: directory to create; an existing one is replaced once the new one is
            complete and has passed.
        card: written to `card.json` inside, with the parity added.
        images: uint8 [N, H, W, C], N >= 1, for the comparison.
        workdir: where it is trusted from then on; see `trust.remember`.

    Returns:
        {"largest_difference", "largest_logit", "tolerance", "num_examples"}.

    Raises:
        UserError: the reloaded model's logits differ by more than the tolerance.
    """
    with replacing_directory(path) as beside:
        write_saved_model(model, beside)
        expected = keras.ops.convert_to_numpy(model(images, training=False))
        logits = load_saved_model(beside)(images)
        parity = compared(expected, logits, tolerance=tolerance_of(model))
        cards.write_folder_card(beside, {**card, "parity": parity}, workdir=workdir)
    return parity


def write_saved_model(model: keras.Model, path: str | Path) -> None:
    """Writes the SavedModel of `export_saved_model` into `path`, nothing else."""
    shape = (None, *model.input_shape[1:])
    archive = keras.export.ExportArchive()
    archive.track(model)

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(tf.cast(image, tf.float32), training=False)}

    signature = [tf.TensorSpec(shape, tf.uint8, name="image")]
    archive.add_endpoint("serving_default", serve, input_signature=signature)
    archive.write_out(str(path), verbose=False)


def load_saved_model(path: str | Path):
    """A function from uint8 images [N, H, W, C] to float32 logits [N, classes]."""
    with plain(path) as folder:
        loaded = tf.saved_model.load(folder)
    signature = loaded.signatures["serving_default"]

    def predict(images: np.ndarray) -> np.ndarray:
        return signature(image=tf.constant(images))["logits"].numpy()

    predict.loaded = loaded  # the signature holds only weak references
    return predict


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
    expected: np.ndarray, logits: np.ndarray, *, tolerance: float
) -> dict[str, Any]:
    """An export's parity; UserError if its logits [N, classes] differ from those
    expected by more than `tolerance` of the largest logit, or of 1 if that is smaller.
    """
    largest = float(np.max(np.abs(expected)))
    allowed = tolerance * max(largest, 1.0)
    difference = float(np.max(np.abs(expected - logits)))
    if not difference <= allowed:
        raise UserError(
            f"the exported model's logits differ by {difference:.3g} from the "
            f"original's, more than {allowed:.3g}"
        )
    return {
        "largest_difference": difference,
        "largest_logit": largest,
        "tolerance": allowed,
        "num_examples": len(expected),
    }
