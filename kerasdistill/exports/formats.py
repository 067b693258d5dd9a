"""A model in the formats that devices and servers run, each tried before it is kept."""

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import errors, evaluation, machine
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.exports import saved_model as export
from kerasdistill.files import replacing_directory
from kerasdistill.models import copies, fast_layers
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.summary import leaf_layers, num_trainable

# Kernels other than TensorFlow's add in another order; relative to the largest logit.
CONVERTED_TOLERANCE = 1e-4
# Root mean square of an int8 model's error against that of the logits.
INT8_NOISE = 0.1
LATENCY_BATCHES = (1, 256)
TIMED_CALLS = (5, 100)  # at least and at most
_TIMED_SECONDS = 0.5  # are enough

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [N, H, W, C] -> [N, classes]


@dataclass(frozen=True)
class Format:
    """How one format is written and run.

    Attributes:
        file: its name in the export's folder; None: the folder itself.
        write: model, path, representative images -> nothing.
        run: path -> a function from uint8 images to logits.
        packages: that have to be installed.
        float32: whether it takes models that compute in float32 only.
    """

    file: str | None
    write: Callable[[keras.Model, Path, np.ndarray], None]
    run: Callable[[Path], Predict]
    packages: tuple[str, ...] = ()
    float32: bool = False


def write_formats(
    model: keras.Model,
    directory: str | Path,
    *,
    formats: Sequence[str],
    card: dict[str, Any],
    images: np.ndarray,
    representative: np.ndarray,
    fold_bottleneck: bool = False,
) -> dict[str, dict[str, Any]]:
    """Writes the model in every format, runs each and compares it with the model.

    What only acts in training (augmentation, dropout, noise) is left out. A model that
    computes in bfloat16 or float16 is written in float32 where the format knows nothing
    else, and is compared with itself in float32.

    Args:
        model: takes pixels 0-255, gives logits.
        directory: created; an existing one is replaced once all formats have passed.
        formats: names in `FORMATS`.
        card: written to `card.json` inside, with what is returned under "exports".
        images: uint8 [N, H, W, C], to compare on and to measure with.
        representative: uint8 [N, H, W, C], from which int8 learns its ranges.
        fold_bottleneck: merge the linear bottleneck into the next layer, in float32.

    Returns:
        By format: file, bytes, compute (the formats it multiplies in), parity (see
        `export.compared`, with the fraction of images on which it and the model as
        given name the same class) and latency.

    Raises:
        UserError: a package is missing, a format can't hold the model, its logits
            change from call to call, or an export's are not the model's.
    """
    require(formats)
    original = export.steady(model, images)
    single, exported = copies.in_float32(model), copies.without_training_layers(model)
    plain = copies.in_float32(exported)
    if fold_bottleneck:
        exported = plain = copies.fold_bottleneck(plain)
    exports = {}
    with replacing_directory(directory) as beside:
        for name in formats:
            form = FORMATS[name]
            given = plain if form.float32 else exported
            path = beside / (form.file or "")
            predict = _written(name, given, path, representative)
            like = single if form.float32 or fold_bottleneck else model
            expected, logits = evaluation.predict(like, images), predict(images)
            parity = _parity(name, expected, logits, export.tolerance_of(given))
            parity["top1_agreement"] = evaluation.agreement(logits, original)
            exports[name] = {
                "file": form.file or ".",
                "bytes": _size(path, form),
                "compute": _compute(name, given),
                "parity": parity,
                "latency": latency(predict, images),
            }
        facts = {
            "weights_digest": weights_digest(exported),
            "num_params": num_trainable(exported),
            "folded_bottleneck": fold_bottleneck,
            "exports": exports,
        }
        if "saved-model" in exports:
            facts["parity"] = exports["saved-model"]["parity"]
        cards.write_folder_card(beside, {**card, **facts})
    return exports


def require(formats: Sequence[str]) -> None:
    """UserError naming the first package that these formats miss."""
    for name in formats:
        for package in FORMATS[name].packages:
            if importlib.util.find_spec(package) is None:
                raise UserError(
                    f"--format {name} needs {package}, which is not installed; "
                    "install kerasdistill[export]"
                )


def latency(predict: Predict, images: np.ndarray) -> dict[str, Any]:
    """Seconds a batch takes: the median of repeated calls, after one unmeasured;
    uint8 [N, H, W, C] are repeated to fill it.

    Returns:
        {"batch_1": seconds, "batch_256": seconds, "processors": those of this
        process}.
    """
    medians: dict[str, Any] = {}
    least, most = TIMED_CALLS
    for size in LATENCY_BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        predict(batch)
        began, times = time.perf_counter(), []
        while len(times) < least or (
            len(times) < most and time.perf_counter() - began < _TIMED_SECONDS
        ):
            since = time.perf_counter()
            predict(batch)
            times.append(time.perf_counter() - since)
        medians[f"batch_{size}"] = statistics.median(times)
    return {**medians, "processors": machine.cores()}


def _written(
    name: str, model: keras.Model, path: Path, representative: np.ndarray
) -> Predict:
    """What runs the file of one format; UserError if that can't hold the model."""
    try:
        FORMATS[name].write(model, path, representative)
        return FORMATS[name].run(path)
    except (UserError, OSError, MemoryError, tf.errors.OpError):
        raise  # the disk's or the device's
    except Exception as error:  # converters raise what they like
        reason = errors.one_line(str(error))[:200] or type(error).__name__
        raise UserError(
            f"model {model.name} can't be written as {name} ({reason}); leave that "
            "format out, or its layers that the format doesn't know; nothing was "
            "written"
        ) from error


def _parity(
    name: str, expected: np.ndarray, logits: np.ndarray, tolerance: float
) -> dict[str, Any]:
    if name != "litert-int8":
        if FORMATS[name].float32:
            tolerance = CONVERTED_TOLERANCE
        return export.compared(expected, logits, tolerance=tolerance)
    # Eight bits are coarse by design: single logits may be off, the whole may not.
    noise = _root_mean_square(logits - expected) / _root_mean_square(expected)
    if not noise <= INT8_NOISE:
        raise UserError(
            f"the int8 model's logits are off by {noise:.1%} of their size, more than "
            f"{INT8_NOISE:.0%}; give images like those it will see with "
            "--distillation-set, or leave out litert-int8; nothing was written"
        )
    parity = export.compared(expected, logits, tolerance=float("inf"))
    return {**parity, "tolerance": INT8_NOISE, "relative_noise": noise}


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _compute(name: str, model: keras.Model) -> str:
    if name == "litert-int8":
        return "int8"
    return "+".join(sorted({layer.compute_dtype for layer in leaf_layers(model)}))


def _size(path: Path, form: Format) -> int:
    if form.file is not None:
        return path.stat().st_size
    own = {each.file for each in FORMATS.values()} - {None}
    files = [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files if each.name not in own)


def _run_keras(path: Path) -> Predict:
    model = keras.saving.load_model(path, compile=False)
    # A function of its own: what is measured is the model, not Keras' loop.
    call = tf.function(lambda images: model(images, training=False))
    return lambda images: call(tf.constant(images)).numpy()


def _convert(model: keras.Model, path: Path, _: np.ndarray, **options: Any) -> None:
    """Keras' own exporter; the input is "image", float32, the output "logits"."""
    shape = model.input_shape
    image = keras.Input(shape[1:], name="image")
    # Exporters don't say that they don't train, and some layers do by default.
    logits = model(image, training=False)
    named = keras.Model(image, {"logits": logits}, name=model.name)
    signature = [keras.InputSpec(shape=shape, dtype="float32", name="image")]
    with warnings.catch_warnings():
        # Of TensorFlow's converter, which moves to another package, and of names
        # by which Keras makes tf2onnx work with NumPy 2.
        warnings.simplefilter("ignore")
        named.export(path, verbose=False, input_signature=signature, **options)


def _write_int8(model: keras.Model, path: Path, representative: np.ndarray) -> None:
    int8 = {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: (
            [image[None].astype(np.float32)] for image in representative
        ),
    }
    _convert(model, path, representative, format="litert", **int8)


def _run_litert(path: Path) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=machine.cores())
    image = interpreter.get_input_details()[0]
    output = interpreter.get_output_details()[0]["index"]
    shapes = [None]  # of the last call

    def predict(images: np.ndarray) -> np.ndarray:
        if shapes[0] != images.shape:
            interpreter.resize_tensor_input(image["index"], images.shape)
            interpreter.allocate_tensors()
            shapes[0] = images.shape
        interpreter.set_tensor(image["index"], images.astype(image["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return predict


def _run_onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images.astype(np.float32)})[0]


_LITERT = {"run": _run_litert, "packages": ("ai_edge_litert",), "float32": True}
_ONNX = {
    "run": _run_onnx,
    "packages": ("onnx", "tf2onnx", "onnxruntime"),
    "float32": True,
}
FORMATS = {
    "saved-model": Format(
        None,
        lambda model, path, _: export.write_saved_model(model, path),
        export.load_saved_model,
    ),
    "keras": Format(
        "model.keras",
        lambda model, path, _: cards.save(fast_layers.with_keras_layers(model), path),
        _run_keras,
    ),
    "litert": Format("model.tflite", partial(_convert, format="litert"), **_LITERT),
    "litert-int8": Format("model-int8.tflite", _write_int8, **_LITERT),
    "onnx": Format("model.onnx", partial(_convert, format="onnx"), **_ONNX),
}
