"""The one way in: whatever is read from disk is opened here.

A path may lead to a pipe that never ends, a device, or a file that fills the memory.
Nothing is read of one that is no ordinary file, or larger than its kind can be.
"""

import contextlib
import errno
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from kerasdistill.errors import UserError

_MB, _GB = 1 << 20, 1 << 30
#: Kind of file -> the most bytes it may have.
LIMITS = {
    "json": 64 * _MB,  # cards, results, recipes, manifests, plans, states
    "text": _GB,  # a split of a text data set
    "image": _GB,
    "npz": 64 * _GB,  # checkpoints, transfer sets, windows
    "model": 64 * _GB,  # .keras and HDF5, weights too
    "digest": 1 << 42,  # only hashed or copied, piece by piece
}
#: Unpacked, an archive is no larger than the first, or than so many times its file:
#: Keras and NumPy don't compress, and no compression makes weights much smaller.
UNPACKED_BYTES, UNPACKED_TIMES = 64 * _MB, 20
_PIECE = _MB
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_file(path: str | Path, kind: str) -> BinaryIO:
    """An ordinary file, opened to read its bytes; close it.

    Args:
        path: links are followed.
        kind: a name in `LIMITS`.

    Raises:
        UserError: it is no ordinary file, or larger than its kind can be.
        OSError: it is not there, or must not be read.
    """
    # A pipe that nobody writes to would be waited for; a terminal would become ours.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise _no_file(path, os.stat(path).st_mode) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _no_file(path, status.st_mode)
        if status.st_size > LIMITS[kind]:
            raise _too_large(path, f"{status.st_size:,}", kind)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | Path, kind: str) -> bytes:
    """The content of a file; raises what `open_file` does, also of one that grows."""
    content = bytearray()
    with open_file(path, kind) as file:
        while piece := file.read(_PIECE):
            content += piece
            if len(content) > LIMITS[kind]:
                raise _too_large(path, "more", kind)
    return bytes(content)


@contextlib.contextmanager
def open_archive(path: str | Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """A ZIP file, opened as by `open_file`.

    Raises:
        UserError: also where names of its members lead out of it, or it unpacks to
            more than models and checkpoints do.
        zipfile.BadZipFile: it is none.
    """
    with open_file(path, kind) as file, zipfile.ZipFile(file) as archive:
        _check_archive(archive, path, packed=os.fstat(file.fileno()).st_size)
        yield archive


def _check_archive(archive: zipfile.ZipFile, path: str | Path, *, packed: int) -> None:
    for member in archive.infolist():
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise UserError(
                f"{path} has a member {member.filename!r}, expected names inside the "
                "archive; get it from where you trust it"
            )
    unpacked = sum(member.file_size for member in archive.infolist())
    if too_much(unpacked, packed):
        raise UserError(
            f"{path} unpacks from {packed:,} to {unpacked:,} bytes, expected at most "
            f"{UNPACKED_TIMES} times as many; get it from where you trust it"
        )


def too_much(unpacked: int, packed: int) -> bool:
    """Whether so many bytes are more than models and checkpoints of `packed` have."""
    return unpacked > max(UNPACKED_BYTES, UNPACKED_TIMES * packed)


def _no_file(path: str | Path, mode: int) -> UserError:
    what = next((name for fits, name in _KINDS if fits(mode)), "something else")
    return UserError(f"{path} is {what}, expected an ordinary file; pass one")


def _too_large(path: str | Path, size: str, kind: str) -> UserError:
    return UserError(
        f"{path} has {size} bytes, expected at most {LIMITS[kind]:,} of a file of this "
        f"kind ({kind}); pass another"
    )
