"""Exports of models that were trained on another of Keras' backends.

SavedModels, LiteRT and ONNX files are made from TensorFlow's graphs, and Keras has one
backend in a process. So a process of its own, with TensorFlow's, reads the model from
a `.keras` file and calls the very function that was called here. It sees no GPU, whose
memory is taken, and ends before the call returns.
"""

import contextlib
import functools
import importlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import errors, files
from kerasdistill.errors import UserError, WorkersLostError
from kerasdistill.exports import parity
from kerasdistill.models import copies, loading, trust
from kerasdistill.reading_files import open_file, read_bytes
from kerasdistill.training import engines

_MODEL, _REQUEST, _ARRAYS = "model.keras", "request.json", "arrays.npz"
_ANSWER, _LOG = "answer.json", "log"
_EXPECTED = "expected answers"  # among the arrays
_END_SECONDS = 20  # it ends when asked to, once a converter lets it
# It computes on the processor, and another version's XLA knows other flags.
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    "HIP_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "",
}
_PACKAGES = ("keras", "keras_hub", "builtins", "__main__", __name__.partition(".")[0])


def image_answers(model: keras.Model, *, images: np.ndarray, **_: Any) -> np.ndarray:
    """Logits of uint8 images [N, H, W, C], computed in float32: a coarser format rounds
    in another way on another backend. UserError if another call gives others."""
    return parity.steady(copies.in_float32(model), images)


def on_tensorflow(answers: Callable[..., np.ndarray] = image_answers) -> Callable:
    """Lets a function that exports a model run on any backend.

    It is called with a model, the path of the folder to write, `card`, and other
    keywords: arrays and JSON values. On TensorFlow it is called as it is. On any other
    backend the process that does so compares what the model answers there with what it
    answers here first (up to `parity.CONVERTED_TOLERANCE`), so that the export's own
    parity holds here too, and notes it in the card under "engine_parity".

    Args:
        answers: model and the keywords -> what is compared, float32 [N, ...].

    Returns:
        A decorator. What it makes returns JSON values: tuples come as lists.

    Raises:
        UserError: as the function does, or the model answers otherwise on TensorFlow.
        WorkersLostError: the process was killed.
    """

    def decorate(export: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(export)
        def door(model: keras.Model, path: str | Path, **arguments: Any) -> Any:
            if keras.backend.backend() == "tensorflow":
                return export(model, path, **arguments)
            with files.folder_beside(path) as scratch:
                expected = _expected(answers, model, arguments)
                _write_request(scratch, export, model, path, arguments, expected)
                try:
                    return _answer(scratch)
                finally:
                    files.remove_left(path)

        door.answers = answers
        return door

    return decorate


def _expected(
    answers: Callable[..., np.ndarray], model: keras.Model, arguments: dict[str, Any]
) -> np.ndarray:
    exact: contextlib.AbstractContextManager = contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        import jax

        # GPUs would round the factors of float32 products to 10 bits.
        exact = jax.default_matmul_precision("highest")
    with exact:
        return answers(model, **arguments)


def _write_request(
    scratch: Path,
    export: Callable[..., Any],
    model: keras.Model,
    path: str | Path,
    arguments: dict[str, Any],
    expected: np.ndarray,
) -> None:
    model.save(scratch / _MODEL)
    arrays = {name: a for name, a in arguments.items() if isinstance(a, np.ndarray)}
    np.savez(scratch / _ARRAYS, **arrays, **{_EXPECTED: expected})
    request = {
        "module": export.__module__,
        "function": export.__name__,
        "path": os.fspath(path),
        "arguments": {n: each for n, each in arguments.items() if n not in arrays},
        "backend": keras.backend.backend(),
        "modules": sorted(set(_modules(json.loads(model.to_json())))),
        "trust": trust.rule(),
    }
    (scratch / _REQUEST).write_text(json.dumps(request, default=os.fspath))


def _modules(config: Any) -> Iterator[str]:
    """Modules that a description takes layers and functions from, but for Keras' and
    ours, which are known without being imported first."""
    if isinstance(config, dict):
        module = config.get("module")
        if isinstance(module, str) and module.partition(".")[0] not in _PACKAGES:
            yield module
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _modules(each)


def _answer(scratch: Path) -> Any:
    """What the function returned or raised in the other process."""
    places = os.pathsep.join(place or os.getcwd() for place in sys.path)
    with open(scratch / _LOG, "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(scratch)],
            stdin=subprocess.PIPE,  # that it ends says that this process does
            stdout=log,
            stderr=log,
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": places},
        )
        try:
            code = child.wait()
        finally:
            child.stdin.close()
            try:
                child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    if not (scratch / _ANSWER).is_file():
        raise _lost(code, scratch)
    answer = json.loads(read_bytes(scratch / _ANSWER, "json"))
    if "refused" in answer:
        raise getattr(errors, answer["refused"])(answer["says"])
    if "failed" in answer:
        error = RuntimeError(f"the export failed: {answer['failed']}")
        error.add_note(answer["traceback"])
        raise error
    return answer["returned"]


def _lost(code: int, scratch: Path) -> WorkersLostError:
    if code < 0:
        how = signal.Signals(-code).name
    else:
        log = read_bytes(scratch / _LOG, "digest").decode(errors="replace").split("\n")
        how = next(
            (line for line in reversed(log) if line.strip()), f"exit code {code}"
        )
    return WorkersLostError(
        f"the process that exports the model ended ({how[:200]}), expected an answer; "
        "what is finished is kept: see that memory is free and run the same command "
        "again"
    )


# What the other process does.


def main(scratch: str) -> int:
    """Does what is requested in a folder and writes the answer there; 130 if the
    process that waits for it is gone, and the folder with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(scratch)
    try:
        answer = {"returned": _called(folder)}
    except UserError as error:
        answer = {"refused": type(error).__name__, "says": str(error)}
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    except Exception as error:
        answer = {"failed": str(error), "traceback": traceback.format_exc()}
    files.write_json_atomic(folder / _ANSWER, answer)
    return 0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _called(folder: Path) -> Any:
    engines.settle()
    request = json.loads(read_bytes(folder / _REQUEST, "json"))
    with open_file(folder / _ARRAYS, "npz") as file:
        with np.load(file, allow_pickle=False) as arrays:
            given = {name: arrays[name] for name in arrays.files}
    expected = given.pop(_EXPECTED)
    given |= request["arguments"]
    export = getattr(importlib.import_module(request["module"]), request["function"])
    known: dict[str, Any] = {}
    for name in request["modules"]:
        content = importlib.import_module(name)
        known |= inspect.getmembers(content, inspect.isclass)
        known |= inspect.getmembers(content, inspect.isfunction)
    with trust.trusting(**request["trust"]), keras.saving.custom_object_scope(known):
        model = loading.load(folder / _MODEL)
        found = _compared(
            expected, export.answers(model, **given), backend=request["backend"]
        )
        card = {**given.pop("card"), "engine_parity": found}
        return export(model, request["path"], card=card, **given)


def _compared(
    expected: np.ndarray, answers: np.ndarray, *, backend: str
) -> dict[str, Any]:
    found = parity.compared(
        expected,
        answers,
        tolerance=parity.CONVERTED_TOLERANCE,
        what="the model's logits on TensorFlow",
        original=f"those on {backend}",
    )
    return {"engine": backend, **found}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
