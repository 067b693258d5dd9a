"""A student alone, as a SavedModel that anything can serve."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill.exports import cards, parity, tensorflow_process
from kerasdistill.files import replacing_directory
from kerasdistill.plain_paths import plain


@tensorflow_process.on_tensorflow()
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
        allowed = parity.tolerance_of(model)
        facts = {"parity": parity.compared(expected, logits, tolerance=allowed)}
        cards.write_folder_card(beside, {**card, **facts}, workdir=workdir)
    return facts["parity"]


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
