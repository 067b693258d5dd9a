"""All that a training needs to go on exactly where it stopped, in one file."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill.errors import StaleArtifactError
from kerasdistill.files import replacing

_STATE = "state"
# What numpy and zipfile raise over damaged bytes: a flipped flag bit in a header,
# say, is a RuntimeError about encryption.
_DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile)


def save(path: str | Path, variables: list, state: dict[str, Any]) -> None:
    """Writes variables and JSON-able state; the file is complete or absent.

    Args:
        path: an .npz file (every member carries a CRC, checked on load).
        variables: Keras variables: weights, optimiser, and the seed generators that
            Keras' own formats leave out.
        state: schedule, history, whatever else.
    """
    arrays = {key: keras.ops.convert_to_numpy(v) for key, v in _named(variables)}
    arrays[_STATE] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def load(path: str | Path, variables: list) -> dict[str, Any]:
    """Assigns the saved values to `variables` and returns the state.

    Raises:
        StaleArtifactError: damaged file, or variables of another model.
    """
    values, state = _read(path)
    named = dict(_named(variables))
    expected = {key: (tuple(v.shape), v.dtype) for key, v in named.items()}
    if expected != {key: (v.shape, v.dtype.name) for key, v in values.items()}:
        raise StaleArtifactError(
            f"checkpoint {path} holds another model's variables; remove its folder "
            "and run again"
        )
    for key, variable in named.items():
        variable.assign(values[key])
    return state


def read_state(path: str | Path) -> dict[str, Any]:
    """The state alone; StaleArtifactError if the file is damaged."""
    return _read(path)[1]


def _read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        # Opened here, because np.load leaves a file open that it can't make out.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            values = {key: arrays[key] for key in arrays.files}
        state = json.loads(values.pop(_STATE).tobytes())
    except _DAMAGE as error:
        raise StaleArtifactError(
            f"checkpoint {path} is damaged ({error}); remove its folder and run again"
        ) from error
    return values, state


def _named(variables: list) -> list[tuple[str, Any]]:
    """Position and name: Keras' automatic names differ from process to process."""
    return [(f"{index:04d}", variable) for index, variable in enumerate(variables)]
