"""Folders with `*`, `?` or `[` in their names, for those that read them as patterns."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_PATTERN = frozenset("*?[\\")


@contextlib.contextmanager
def plain(folder: str | Path) -> Iterator[str]:
    """A path of the same folder that is no pattern, good within the context.

    TensorFlow looks for checkpoints, those of SavedModels too, by patterns.
    """
    folder = os.fspath(folder)
    if not _PATTERN & set(folder) or not os.path.isdir(folder):
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
