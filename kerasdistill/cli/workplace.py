"""The workdir, tried once: what cannot hold runs is refused before anything is read."""

import argparse
import errno
import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.cli.finished import VERBS
from kerasdistill.errors import UserError
from kerasdistill.files import nearest_existing, why_unwritable

# Finished runs in such a folder still answer; what is left to do is refused with them.
_ONLY_READ = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC)
_TRIES = 3
_ELSEWHERE = ("space", "extend")  # options with which nothing is put there


def check(args: argparse.Namespace) -> None:
    """UserError if the workdir can't hold what this command makes, or a name of the
    command line is no text."""
    check_text({**vars(args), "workdir": os.path.abspath(args.workdir)})
    makes_runs = args.verb in (*VERBS, "reproduce") and not args.plan
    if makes_runs and not any(getattr(args, name, None) for name in _ELSEWHERE):
        try_out(args.workdir)


def check_text(options: dict[str, Any]) -> None:
    """UserError for bytes that are no UTF-8, in which TensorFlow wants every path."""
    for name, value in options.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            try:
                if isinstance(each, str):
                    each.encode()
            except UnicodeEncodeError as error:
                raise UserError(
                    f"{name} {each!r} is no UTF-8 (at {error.start}); rename the file "
                    "or folder, or run under a UTF-8 locale"
                ) from None


def try_out(
    workdir: str | Path, *, lock: Callable[[int, int], object] = fcntl.flock
) -> None:
    """Creates the workdir, writes and locks a file in it, and leaves no trace.

    Args:
        workdir: one that is there but can't be written to is passed over here.
        lock: locks a file, as `fcntl.flock` does.

    Raises:
        UserError: it is an address or a file, can't be made, can't be written to, or
            its file system has no locks.
    """
    if "://" in str(workdir) or ":/" in str(workdir):
        raise UserError(f"workdir {workdir} is no local path; give a local --workdir")
    for tries_left in reversed(range(_TRIES)):
        try:
            return _tried(Path(workdir), lock)
        except OSError as error:
            # Another process may have just taken its trial away.
            if not isinstance(error, FileNotFoundError) or not tries_left:
                raise UserError(
                    f"workdir {workdir} cannot be used ({error.strerror}); choose "
                    "another --workdir"
                ) from error


def _tried(folder: Path, lock: Callable[[int, int], object]) -> None:
    there, existed = nearest_existing(folder), folder.is_dir()
    if not existed and (advice := why_unwritable(folder)) is not None:
        raise UserError(advice)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _nameless(folder)
        try:
            os.write(descriptor, b"runs")
            _lock(descriptor, folder, lock)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not existed or error.errno not in _ONLY_READ:
            raise
    finally:
        _remove_empty(folder.absolute(), there)


def _nameless(folder: Path) -> int:
    """A file that nothing is left of, should this process be killed."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    # Not every file system has such.
    descriptor, path = tempfile.mkstemp(prefix=".partial.", dir=folder)
    os.unlink(path)
    return descriptor


def _lock(file: int, folder: Path, lock: Callable[[int, int], object]) -> None:
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(
            f"workdir {folder}: its file system locks no files ({error.strerror}), so "
            "two processes could work in one run; choose another --workdir"
        ) from error


def _remove_empty(folder: Path, there: Path) -> None:
    """Removes the folders that were made for the trial, while they are empty."""
    while folder != there:
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = folder.parent
