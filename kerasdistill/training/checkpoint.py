"""All that a training needs to go on exactly where it stopped, in one file."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill.errors import StaleArtifactError
from kerasdistill.files import replacing
from kerasdistill.reading_files import open_archive

_STATE = "state"
# What numpy and zipfile raise over damaged bytes: a flipped flag bit in a header,
# say, is a RuntimeError about encryption.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile)
_DAMAGE += (MemoryError,)  # over a shape that was made up


def save(path: str | Path, variables: list, state: dict[str, Any]) -> None:
    """Writes variables and JSON-able state; the file is complete or absent.

    Every member of the .npz file carries a CRC, checked on load. Keras' own formats
    leave out seed generators, which may be among the variables here.
    """
    named = _named(variables)
    arrays = {key: keras.ops.convert_to_numpy(value) for key, value in named.items()}
    arrays[_STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def load(path: str | Path, variables: list) -> dict[str, Any]:
    """Assigns the saved values to `variables` and returns the state.

    Raises:
        StaleArtifactError: damaged file, or variables of another model.
    """
    values, state = read(path)
    named = _named(variables)
    expected = {key: (tuple(v.shape), v.dtype) for key, v in named.items()}
    if expected != {key: (v.shape, v.dtype.name) for key, v in values.items()}:
        raise StaleArtifactError(
            f"checkpoint {path} holds another model's variables; remove its folder "
            "and run again"
        )
    for key, variable in named.items():
        variable.assign(values[key])
    return state


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The values and the state; StaleArtifactError if the file is damaged."""
    try:
        # Opened here, because np.load leaves a file open that it can't make out.
        with open_archive(path, "npz") as archive:
            archive.fp.seek(0)
            with np.load(archive.fp, allow_pickle=False) as arrays:
                values = {key: arrays[key] for key in arrays.files}
        state = json.loads(values.pop(_STATE).tobytes())
    except _DAMAGE as error:
        raise StaleArtifactError(
            f"checkpoint {path} is damaged ({error}); remove its folder and run again"
        ) from error
    return values, state


def _named(variables: list) -> dict[str, Any]:
    """By position: Keras' automatic names differ from process to process."""
    return {f"{index:04d}": variable for index, variable in enumerate(variables)}
