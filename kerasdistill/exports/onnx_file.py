"""ONNX files."""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np


def write(model: keras.Model, path: Path, _: np.ndarray) -> None:
    """By Keras' own exporter; the input is "image", uint8, the output "logits"."""
    shape = model.input_shape
    image = keras.Input(shape[1:], dtype="uint8", name="image")
    # Exporters don't say that they don't train, and some layers do by default.
    logits = model(keras.ops.cast(image, "float32"), training=False)
    named = keras.Model(image, {"logits": logits}, name=model.name)
    signature = [keras.InputSpec(shape=shape, dtype="uint8", name="image")]
    with warnings.catch_warnings():
        # Of names by which Keras makes tf2onnx work with NumPy 2.
        warnings.simplefilter("ignore")
        named.export(path, format="onnx", verbose=False, input_signature=signature)


def run(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images [N, H, W, C] to logits [N, classes]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]
