"""Files that are complete or absent: written beside, synced, then renamed."""

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.reading_files import open_file, read_bytes

SEAL = "checksum"  # of all other fields of a JSON file
_AT_CWD, _EXCHANGE = -100, 2  # Linux' AT_FDCWD and RENAME_EXCHANGE


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; on success it takes `path`'s place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Suffixes survive, because Keras picks the format by them.
    beside = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield beside
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_directory(path: str | Path) -> Iterator[Path]:
    """As `replacing`, for a directory such as a SavedModel; an old one is replaced.

    There is no moment without one of the two. What killed processes left half-written
    of the same directory is removed.
    """
    path = Path(path)
    with folder_beside(path) as beside:
        yield beside
        for child in beside.rglob("*"):
            _sync(child)
        if path.exists():
            _exchange(beside, path)
        else:
            os.replace(beside, path)
        _sync(path.parent)


@contextlib.contextmanager
def folder_beside(path: str | Path) -> Iterator[Path]:
    """Yields a new folder beside `path`, to work in; it is removed at the end.

    What killed processes left beside the same path is removed first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left(path)
    beside = path.parent / f"{_left(path)}{uuid.uuid4().hex[:8]}"
    beside.mkdir()  # not mkdtemp: the user's umask says who may read it
    try:
        with _locked(beside):
            yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_left(path: str | Path) -> None:
    """Removes what killed processes left of `folder_beside` the path."""
    for left in Path(path).parent.iterdir():
        if left.name.startswith(_left(path)):
            with contextlib.suppress(OSError), _locked(left):
                shutil.rmtree(left, ignore_errors=True)


def _left(path: str | Path) -> str:
    return f".partial.{Path(path).name}."


def remove_partial(folder: str | Path, *, but_in: Iterable[Path] = ()) -> None:
    """Removes what a killed process left half-written under `folder`, at any depth,
    but for the folders in it where others may be writing."""
    kept = [Path(place) for place in but_in]
    for pattern in (".*.partial.*", ".partial.*"):
        for path in sorted(Path(folder).rglob(pattern)):
            if any(path.is_relative_to(place) for place in kept):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def nearest_existing(path: str | Path) -> Path:
    """The path itself, or the nearest place above it that exists."""
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    return place


def why_unwritable(folder: str | Path) -> str | None:
    """A line for people if `folder`, which may not exist yet, cannot be written to."""
    place = nearest_existing(folder)
    if place.is_dir() and os.access(place, os.W_OK):
        return None
    advice = f"{place} cannot be written to; choose another `workdir`"
    read_only = os.statvfs(place).f_flag & os.ST_RDONLY
    return f"{advice} ({os.strerror(errno.EROFS)})" if read_only else advice


def require_space(folder: str | Path, needed: float) -> None:
    """UserError if `folder`, which may not exist yet, cannot be written to, or has
    fewer bytes free than are needed."""
    if (advice := why_unwritable(folder)) is not None:
        raise UserError(advice)
    place = nearest_existing(folder)
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"{place} has {free / 1e9:.2f} GB free, {needed / 1e9:.2f} GB are needed; "
            "free some, choose another `workdir`, fewer `passes` or `store='replay'`"
        )


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Writes the whole content or leaves what was there, also where that is equal."""
    data, path = data.encode() if isinstance(data, str) else data, Path(path)
    if path.is_file() and read_bytes(path, "digest") == data:
        return
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Writes indented JSON with sorted keys; NaN is refused (it is not JSON)."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_atomic(path, text + "\n")


def write_sealed_json(path: str | Path, value: dict[str, Any]) -> None:
    """`write_json_atomic` of `sealed` fields; `unsealed` reads it."""
    write_json_atomic(path, sealed(value))


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """JSON-able fields with a checksum of them all, as `unsealed` wants them."""
    plain = json.loads(json.dumps(value))
    return {**plain, SEAL: digest_of(plain)}


def unsealed(value: Any, *, where: str | Path) -> Any:
    """A JSON file's value without its checksum; one that has none comes as it is.
    StaleArtifactError if the checksum does not fit the other fields."""
    if not isinstance(value, dict) or SEAL not in value:
        return value
    rest = {name: field for name, field in value.items() if name != SEAL}
    if value[SEAL] != digest_of(rest):
        raise StaleArtifactError(
            f"{where} is damaged or was edited (field {SEAL} does not fit the others); "
            "restore it or remove it and run again; a copy that is meant to differ "
            f"has no field {SEAL}"
        )
    return rest


def sha256_bytes(data: bytes | memoryview) -> str:
    """Hex digest of a buffer."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hex digest of a file's content, read in large pieces."""
    with open_file(path, "digest") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_files(folder: str | Path) -> dict[str, str]:
    """Hex digests of all files in a folder, at any depth, by their paths in it."""
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def digest_of(value: Any) -> str:
    """Hex digest of a JSON-able value, whatever the order of its keys."""
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int, path: str | Path) -> None:
    """Takes the lock of a file or folder that was opened at `path`.

    The kernel lets go of it with the process, so none is ever stale. BlockingIOError if
    another process holds it, or the path leads elsewhere by now: one that opens it
    after that would get a lock of its own.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not holds(descriptor, path):
        raise BlockingIOError(errno.EAGAIN, "it was replaced", str(path))


def holds(descriptor: int, path: str | Path) -> bool:
    """Whether `path` still leads to what was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder; OSError if another process does, see `lock`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    """Swaps the names of two folders in one step, where the system can."""
    paths = os.fsencode(one), os.fsencode(other)
    with contextlib.suppress(AttributeError):  # an older C library, or another system
        renamed = ctypes.CDLL(None).renameat2
        if renamed(_AT_CWD, paths[0], _AT_CWD, paths[1], _EXCHANGE) == 0:
            return
    # A directory cannot be renamed over one that is not empty.
    old = one.with_name(one.name + ".old")
    os.replace(other, old)
    os.replace(one, other)
    shutil.rmtree(old, ignore_errors=True)
