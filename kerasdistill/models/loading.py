"""Model files, read without running code from them."""

import contextlib
import importlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from kerasdistill.errors import UserError, reason
from kerasdistill.models import language  # noqa: F401, Keras must know its layers
from kerasdistill.reading_files import open_archive, open_file, too_much

SUFFIXES = (".keras", ".h5", ".hdf5")
_UNREADABLE = (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile)
# Settings of layers that hold words or rules, or name a file of them to be read.
_MAY_NAME_FILES = ("vocabulary", "vocabulary_file", "merges", "proto", "idf_weights")


def load(path: str | Path) -> keras.Model:
    """Reads a `.keras` file, or a legacy HDF5 one, in Keras' safe mode, uncompiled.

    Raises:
        UserError: no such file, another format, a model that would need code, or a
            file that refers to others.
    """
    path = require_file(path)
    # Known to Keras once it is imported; only trusted ones load.
    from kerasdistill.models import saved  # noqa: F401

    try:
        if path.suffix != ".keras":
            return _load_hdf5(path)
        _check_archive(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except UserError:
        raise
    except Exception as error:  # Keras raises what its many deserializers raise
        if (own := error.__context__) and isinstance(own, UserError):
            raise own from None  # of a layer of ours, which Keras has wrapped
        raise UserError(
            f"model {path} cannot be loaded ({reason(error)[:200]}); save it with "
            "model.save(); if it has layers of its own, export it (model.export) and "
            "give that folder with `trusting(saved_models=True)`, or to "
            "born-again with `custom_objects=MODULE`"
        ) from error


def require_file(path: str | Path) -> Path:
    """The path of a model file; UserError for anything else."""
    if "://" in str(path):
        raise UserError(
            f"model {path} is not on this disk; exports.sharing.taken(address, folder) "
            "brings it here"
        )
    path = Path(path)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise UserError(
            f"model {path} is not a .keras or .h5 file; pass the path of one that "
            "exists"
        )
    with open_file(path, "model") as file:
        start = file.read(8)
    kinds = {b"PK": ".keras", b"\x89HDF": ".h5"}
    kind = next((k for mark, k in kinds.items() if start.startswith(mark)), None)
    if start == b"version ":
        raise UserError(
            f"model {path} is Git LFS' pointer to a model; fetch it with git lfs pull"
        )
    if kind and kind != path.suffix.replace("hdf5", "h5"):
        raise UserError(f"model {path} is a {kind} file by its content; rename it")
    return path


def image_shape(path: str | Path) -> tuple[int, int, int] | None:
    """Height, width and channels of the images that the model in a file takes.

    Read from its description alone, without building it; None where it does not say:
    for sizes that are left open, other formats, and what cannot be read.
    """
    with contextlib.suppress(*_UNREADABLE):
        for shape in _input_shapes(_config(Path(path))):
            sides = shape[1:]
            if len(sides) == 3 and all(isinstance(n, int) and n > 0 for n in sides):
                return tuple(sides)
    return None


def _config(path: Path) -> Any:
    """A model's description, nested JSON values; {} for other files."""
    if not path.is_file():
        return {}
    if path.suffix == ".keras":
        with open_archive(path, "model") as archive:
            return json.loads(archive.read("config.json"))
    if path.suffix in SUFFIXES:
        with _hdf5(path) as file:
            return json.loads(file.attrs["model_config"])
    return {}


def _input_shapes(config: Any) -> Iterator[list]:
    """The shapes, batch first, of all inputs in a description, the outermost first."""
    values = config.values() if isinstance(config, dict) else config
    if isinstance(config, dict):
        for name in ("batch_shape", "batch_input_shape"):
            if isinstance(config.get(name), list):
                yield config[name]
    if isinstance(config, dict | list):
        for value in values:
            yield from _input_shapes(value)


def _check_archive(path: Path) -> None:
    with open_archive(path, "model") as archive:
        if damaged := archive.testzip():  # Keras reads no checksum of the weights
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        config = archive.read("config.json")
        for name in archive.namelist():
            if name.endswith(".h5"):  # older Keras follows its links
                with h5py.File(io.BytesIO(archive.read(name))) as file:
                    _check_content(file, path)
    described = json.loads(config)
    _check_described(described, path)
    if {"student", "objective"} <= described.get("config", {}).keys():
        raise UserError(
            f"model {path} is a shell that trains a student; save the student alone, "
            'with shell.student.save("model.keras")'
        )
    if b'"keras_hub' in config:  # its layers are known once it is imported
        try:
            importlib.import_module("keras_hub")
        except ImportError as error:
            raise UserError(
                f"model {path} is made of KerasHub's layers, which is not installed; "
                "pip install keras-hub"
            ) from error


def _check_described(config: Any, path: Path) -> None:
    """UserError for a description whose layers would read files of this machine."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if key in _MAY_NAME_FILES and isinstance(value, str):
            raise UserError(
                f"model {path} would read {value[:200]!r} (field {key} of a layer), "
                "expected the content itself; build the layer from a list and save it"
            )
    if isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            _check_described(value, path)


@contextlib.contextmanager
def _hdf5(path: str | Path) -> Iterator[h5py.File]:
    with open_file(path, "model") as content, h5py.File(content) as file:
        yield file


def check_weights(path: str | Path) -> None:
    """UserError for a file of weights that is none, or refers to others."""
    if Path(path).suffix not in SUFFIXES:  # Keras would read the files a .json lists
        raise UserError(f"weights {path} are no HDF5 file; pass a .weights.h5 file")
    if Path(path).suffix == ".keras":
        return _check_archive(Path(path))
    with _hdf5(path) as file:
        _check_content(file, path)


def _check_content(file: h5py.File, path: str | Path) -> None:
    """UserError for what lies elsewhere, or is far larger than the file."""
    for name in _elsewhere(file, set()):
        raise UserError(
            f"model {path} refers to another file, or another place, at {name!r}, or "
            "claims a shape far beyond its size; load it where you trust it and save "
            "it again as .keras"
        )


def _load_hdf5(path: Path) -> keras.Model:
    """The model in an HDF5 file, from a copy where its description has to be mended.

    UserError for a file of weights alone, or with what lies in other files.
    """
    with _hdf5(path) as file:
        if "model_config" not in file.attrs:
            raise UserError(
                f"model {path} holds weights alone; build the network, load them into "
                'it and save both: model.load_weights(...); model.save("model.keras")'
            )
        _check_content(file, path)
        config = json.loads(file.attrs["model_config"])
    _check_described(config, path)
    if (mended := _for_keras_3(config)) == config:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(path, Path(folder, "model.h5")))
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(mended)
        return keras.saving.load_model(copy, compile=False, safe_mode=True)


def _for_keras_3(config: Any) -> Any:
    """A description by Keras 2 without what Keras 3.15 no longer reads: `groups` of 1
    in depthwise and transposed convolutions, dtype policies as objects."""
    if isinstance(config, list):
        return [_for_keras_3(value) for value in config]
    if not isinstance(config, dict):
        return config
    mended = {name: _for_keras_3(value) for name, value in config.items()}
    own = mended.get("config")
    if isinstance(own, dict) and own.get("groups") == 1:
        if str(mended.get("class_name")).startswith(("Depthwise", "Conv2DTranspose")):
            del own["groups"]
    if isinstance(policy := mended.get("dtype"), dict):
        if policy.get("class_name") in ("Policy", "PolicyV1"):
            mended["dtype"] = policy["config"]["name"]
    return mended


def _elsewhere(group: h5py.Group, seen: set[int]) -> Iterator[str]:
    """Names of what an HDF5 file takes from other files, or from elsewhere in it, and
    of arrays that unpack to far more than it; `seen` are places in it."""
    if (place := h5py.h5o.get_info(group.id).addr) in seen:
        yield group.name  # under two names, or in a circle
        return
    seen.add(place)
    packed = group.file.id.get_filesize()
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            yield f"{group.name}/{name}"
            continue
        value = group[name]
        if isinstance(value, h5py.Group):
            yield from _elsewhere(value, seen)
        elif value.external or value.is_virtual or too_much(value.nbytes, packed):
            yield value.name
