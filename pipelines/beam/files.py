"""Files through Beam's FileSystems: whole or absent, on disk as in a bucket."""

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from typing import Any, BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import UserError
from kerasdistill.files import sha256_file
from kerasdistill.reading_files import open_file, read_bytes

_PIECE_BYTES = 1 << 20


join = FileSystems.join


def absolute(path: str) -> str:
    path = os.fspath(path)
    try:
        FileSystems.get_filesystem(path)
    except ValueError as error:
        raise UserError(
            f"{path} cannot be opened: {error} (gs:// needs apache-beam[gcp], s3:// "
            "needs apache-beam[aws])"
        ) from error
    return path if FileSystems.get_scheme(path) else os.path.abspath(path)


def open_to_read(path: str) -> Any:
    if os.path.exists(path):  # here, and so no URL
        return open_file(path, "digest")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def get(path: str) -> bytes:
    if os.path.exists(path):
        return read_bytes(path, "json")
    with open_to_read(path) as file:
        return file.read()


def measure(path: str) -> tuple[int, str]:
    """Size in bytes and hex sha256."""
    size, digest = 0, hashlib.sha256()
    with open_to_read(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def put_json(path: str, value: Any, scratch: str) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    put(path, text.encode(), scratch)


def put(path: str, content: bytes, scratch: str) -> None:
    _put(path, io.BytesIO(content), scratch)


def put_file(path: str, local: str, scratch: str) -> tuple[int, str]:
    """Copies a local file to `path`; size and hex sha256."""
    with open_file(local, "digest") as source:
        _put(path, source, scratch)
    return os.path.getsize(local), sha256_file(local)


def _put(path: str, source: BinaryIO, scratch: str) -> None:
    """Writes a file beside `path`, in `scratch`, and renames it."""
    beside = join(scratch, f"{uuid.uuid4().hex}.partial")
    folder, _ = FileSystems.split(path)
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except BeamIOError:
            if not FileSystems.exists(folder):  # else another worker was faster
                raise
    compression = CompressionTypes.UNCOMPRESSED
    with FileSystems.create(beside, compression_type=compression) as target:
        shutil.copyfileobj(source, target, _PIECE_BYTES)
    FileSystems.rename([beside], [path])


def delete(paths: Sequence[str]) -> None:
    """Removes files and folders with all that is in them; BeamIOError if one is not
    there. Beam takes names for patterns, which local ones may look like."""
    if any(map(FileSystems.get_scheme, paths)):
        FileSystems.delete(list(paths))
        return
    for path in paths:
        try:
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        except OSError as error:
            raise BeamIOError(f"cannot delete {path}", {path: error}) from error


def local_copy(path: str, folder: str) -> str:
    """A path that libraries without Beam can open."""
    if FileSystems.get_scheme(path) is None:
        return path
    local = os.path.join(folder, FileSystems.split(path)[1])
    download(path, local)
    return local


def download(path: str, local: str) -> None:
    with open_to_read(path) as source, open(local, "wb") as target:
        shutil.copyfileobj(source, target, _PIECE_BYTES)
