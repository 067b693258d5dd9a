"""LiteRT files: float32, or int8 with what is done to the pixels left in float32."""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import machine, terminal
from kerasdistill.exports import saved_model as export


def write(model: keras.Model, path: Path, _: np.ndarray) -> None:
    """Writes `path`; its input is "image", uint8, its output "logits"."""
    with _saved(model) as folder:
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        path.write_bytes(converter.convert())


def write_int8(model: keras.Model, path: Path, representative: np.ndarray) -> None:
    """As `write`, with weights and activations in int8, whose ranges come from
    `representative`, uint8 [N, H, W, C].

    What stands before the first layer with a kernel stays in float32: eight bits are
    too few for the variance of an image, and one blank image would spoil its range.
    """

    def images() -> Iterator[list[np.ndarray]]:
        return ([image[None]] for image in representative)

    with _saved(model) as folder:
        plain = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=_preprocessing(plain, model)
        )
        # It is made for finding layers that suffer, and is the only way to leave out
        # single ones.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=images, debug_options=options
        )
        path.write_bytes(debugger.get_nondebug_quantized_model())


def run(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images [N, H, W, C] to logits [N, classes]."""
    from ai_edge_litert.interpreter import Interpreter

    with terminal.native_aside():
        interpreter = Interpreter(str(path), num_threads=machine.cores())
    image = interpreter.get_input_details()[0]
    output = interpreter.get_output_details()[0]["index"]
    shapes = [None]  # of the last call

    def predict(images: np.ndarray) -> np.ndarray:
        if shapes[0] != images.shape:
            interpreter.resize_tensor_input(image["index"], images.shape)
            with terminal.native_aside():
                interpreter.allocate_tensors()
            shapes[0] = images.shape
        interpreter.set_tensor(image["index"], images.astype(image["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return predict


@contextlib.contextmanager
def _saved(model: keras.Model) -> Iterator[str]:
    """The folder of its SavedModel, from which converters can be made within."""
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        terminal.native_aside(),
    ):
        warnings.simplefilter("ignore")  # of a converter that moves to another package
        export.write_saved_model(model, folder)
        yield folder


def _preprocessing(content: bytes, model: keras.Model) -> list[str]:
    """Names of the tensors in a LiteRT file that are made before the first kernel."""
    from ai_edge_litert.interpreter import Interpreter

    before = []
    for layer in _operations(model):
        if any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ())):
            break
        before.append(layer.name)
    details = Interpreter(model_content=content).get_tensor_details()
    return [each["name"] for each in details if _made_by(each["name"], before)]


def _made_by(name: str, layers: list[str]) -> bool:
    """Whether all that is merged into a tensor, named path;path, is of these layers."""
    return all(
        any(part.removesuffix("_1") in layers for part in path.split("/"))
        for path in name.split(";")
    )


def _operations(model: keras.Model) -> Iterator[keras.Operation]:
    """In the order of the graph, those of models inside it in their place."""
    if isinstance(model, keras.Sequential):
        parts = model.layers
    else:
        parts = model.operations
    for part in parts:
        if isinstance(part, keras.Model):
            yield from _operations(part)
        elif not isinstance(part, keras.layers.InputLayer):
            yield part
