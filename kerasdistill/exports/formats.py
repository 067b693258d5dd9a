"""A model in the formats that devices and servers run, each tried before it is kept."""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import errors, evaluation, machine, packages
from kerasdistill.errors import UserError
from kerasdistill.exports import cards, litert, onnx_file, parity, tensorflow_process
from kerasdistill.exports import saved_model as export
from kerasdistill.files import replacing_directory
from kerasdistill.models import copies, fast_layers
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.summary import leaf_layers, num_trainable

# Fraction of images on which an int8 model names the class that the model names.
INT8_AGREEMENT = 0.9
_MOST_NAMED = 10  # images
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


@tensorflow_process.on_tensorflow()
def write_formats(
    model: keras.Model,
    directory: str | Path,
    *,
    formats: Sequence[str],
    card: dict[str, Any],
    images: np.ndarray,
    representative: np.ndarray,
    fold_bottleneck: bool = False,
    workdir: str | Path | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Writes the model in every format, runs each and compares it with the model.

    What only acts in training (augmentation, dropout, noise) is left out. A model that
    computes in bfloat16 or float16 is written in float32 where the format knows nothing
    else, and is compared with itself in float32.

    Args:
        model: takes pixels 0-255, gives logits.
        directory: created; an existing one is replaced once every format was tried.
        formats: names in `FORMATS`.
        card: written to `card.json` inside, with what is returned under "exports".
        images: uint8 [N, H, W, C], to compare on and to measure with.
        representative: uint8 [N, H, W, C], from which int8 learns its ranges.
        fold_bottleneck: merge the linear bottleneck into the next layer, in float32.
        workdir: where a SavedModel is trusted from then on; see `trust.remember`.

    Returns:
        What was written, and by format why it was refused. Of what was written, by
        format: file, bytes, compute (the formats it multiplies in), parity (see
        `parity.compared`, with the fraction of images on which it and the model as
        given name the same class) and latency.

    Raises:
        UserError: a package is missing, the model's logits change from call to call,
            or every format is refused: it can't hold the model, or gives other logits.
    """
    require(formats)
    original = parity.steady(model, images)
    single, exported = copies.in_float32(model), copies.without_training_layers(model)
    plain = copies.in_float32(exported)
    if fold_bottleneck:
        exported = plain = copies.fold_bottleneck(plain)
    exports, refused = {}, {}
    with replacing_directory(directory) as beside:
        for name in formats:
            form = FORMATS[name]
            given = plain if form.float32 else exported
            like = single if form.float32 or fold_bottleneck else model
            how = {"images": images, "representative": representative}
            try:
                described = _exported(name, given, like, beside, **how)
            except UserError as error:
                refused[name] = str(error)
                _remove(beside, form)
                continue
            logits = described.pop("logits")
            agreement = evaluation.agreement(logits, original)
            described["parity"]["top1_agreement"] = agreement
            exports[name] = described
        if not exports:
            raise UserError(f"{'; '.join(refused.values())}; nothing was written")
        facts = {
            "weights_digest": weights_digest(exported),
            "num_params": num_trainable(exported),
            "folded_bottleneck": fold_bottleneck,
            "exports": exports,
        }
        if "saved-model" in exports:
            facts["parity"] = exports["saved-model"]["parity"]
        cards.write_folder_card(beside, {**card, **facts}, workdir=workdir)
    return exports, refused


def _exported(
    name: str,
    model: keras.Model,
    like: keras.Model,
    directory: Path,
    *,
    images: np.ndarray,
    representative: np.ndarray,
) -> dict[str, Any]:
    """Writes one format and describes it, with its "logits" of the images; UserError
    if they are not those of `like`."""
    form = FORMATS[name]
    path = directory / (form.file or "")
    predict = _written(name, model, path, representative)
    expected, logits = evaluation.predict(like, images), predict(images)
    return {
        "file": form.file or ".",
        "bytes": _size(path, form),
        "compute": _compute(name, model),
        "parity": _parity(name, expected, logits, parity.tolerance_of(model)),
        "latency": latency(predict, images),
        "logits": logits,
    }


def _remove(directory: Path, form: Format) -> None:
    """What one format has written; a SavedModel's files are those of no other."""
    others = {each.file for each in FORMATS.values() if each is not form}
    for path in directory.iterdir():
        if form.file in (None, path.name) and path.name not in others:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def require(formats: Sequence[str]) -> None:
    """UserError naming the packages that a format misses."""
    for name in formats:
        packages.require(*FORMATS[name].packages, by=f"`format={name}`")


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
            "format out, or its layers that the format doesn't know"
        ) from error


def _parity(
    name: str, expected: np.ndarray, logits: np.ndarray, tolerance: float
) -> dict[str, Any]:
    if name != "litert-int8":
        if FORMATS[name].float32:
            tolerance = parity.CONVERTED_TOLERANCE
        return parity.compared(expected, logits, tolerance=tolerance)
    # Eight bits are coarse by design: single logits may be off, the classes may not.
    apart = np.flatnonzero(logits.argmax(axis=1) != expected.argmax(axis=1))
    agreement = 1 - len(apart) / len(logits)
    if not agreement >= INT8_AGREEMENT:
        places = ", ".join(map(str, apart[:_MOST_NAMED]))
        raise UserError(
            f"the int8 model names the model's class for {agreement:.1%} of "
            f"{len(logits)} images, expected at least {INT8_AGREEMENT:.0%} (others: "
            f"images {places}{', …' * (len(apart) > _MOST_NAMED)}); give images like "
            "those it will see with `distillation_set`, or leave out litert-int8"
        )
    noise = _root_mean_square(logits - expected) / _root_mean_square(expected)
    found = parity.compared(expected, logits, tolerance=float("inf"))
    return {**found, "tolerance": 1 - INT8_AGREEMENT, "relative_noise": noise}


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


_LITERT = {"run": litert.run, "packages": ("ai_edge_litert",), "float32": True}
_ONNX = {
    "run": onnx_file.run,
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
    "litert": Format("model.tflite", litert.write, **_LITERT),
    "litert-int8": Format("model-int8.tflite", litert.write_int8, **_LITERT),
    "onnx": Format("model.onnx", onnx_file.write, **_ONNX),
}
