"""Model files, read without running code from them."""

import zipfile
from pathlib import Path

import keras

from kerasdistill.errors import UserError
from kerasdistill.models import language  # noqa: F401, Keras must know its layers


def load(path: str | Path) -> keras.Model:
    """Reads a `.keras` file in Keras' safe mode, uncompiled.

    Raises:
        UserError: no such file, another format, or a model that would need code.
    """
    path = Path(path)
    if path.suffix != ".keras" or not path.is_file():
        raise UserError(
            f"model {path} is not a .keras file; pass the path of one that exists"
        )
    # Known to Keras once it is imported; only trusted ones load.
    from kerasdistill.models import saved  # noqa: F401

    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():  # Keras reads no checksum of the weights
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except UserError:
        raise
    except Exception as error:  # Keras raises what its many deserializers raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"model {path} cannot be loaded ({reason}); save it with model.save(); if "
            "it has layers of its own, export it (model.export) and give that folder "
            "with --trust-saved-model, or to born-again with --custom-objects MODULE"
        ) from error


def takes(model: keras.Model, image_shape: tuple[int, int, int]) -> bool:
    """Whether the model takes images [height, width, channels] of this shape."""
    wanted = tuple(model.input_shape)[1:]
    sides = zip(wanted, image_shape, strict=False)
    return len(wanted) == 3 and all(side in (None, given) for side, given in sides)
