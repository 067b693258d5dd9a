"""Errors of TensorFlow's graph while it reads a damaged set, as errors of ours."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from kerasdistill.errors import StaleArtifactError
from pipelines.stored import records

OTHER_VIEWS = "logits belong to other views than theirs"
_UNREADABLE = "Could not parse example"


@contextlib.contextmanager
def translated(
    path: Path, *, check: Callable[[], object], unchanged: Callable[[], None]
) -> Iterator[None]:
    """Turns a check that fails inside the graph into a StaleArtifactError.

    `check` raises one that names a file which is not the one in the manifest;
    `unchanged` one that has changed since it was opened, which explains any failure,
    and refuses what was read without one.
    """
    try:
        with _named(path, check=check):
            yield
    except Exception:
        unchanged()
        raise
    unchanged()


@contextlib.contextmanager
def _named(path: Path, *, check: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.NotFoundError):
        check()
        raise
    except UnicodeDecodeError as error:
        raise _damaged(path) from error  # TensorFlow's message quotes the record
    except tf.errors.InvalidArgumentError as error:
        if OTHER_VIEWS in str(error):
            raise StaleArtifactError(
                f"distillation set {path}: a member's {OTHER_VIEWS}; precompute again"
            ) from error
        if records.SCOPE in str(error) or _UNREADABLE in str(error):
            raise _damaged(path) from error
        if "pixel_fingerprint" not in str(error):
            raise
        raise StaleArtifactError(
            f"distillation set {path} cannot be replayed: views re-made from their "
            "seeds differ from those the teacher scored (field pixel_fingerprint); "
            "the augmentation or its code differs: precompute again, or use the "
            "images store"
        ) from error


def _damaged(path: Path) -> StaleArtifactError:
    return StaleArtifactError(
        f"distillation set {path}: a record is damaged or of another kind; "
        "precompute again"
    )
