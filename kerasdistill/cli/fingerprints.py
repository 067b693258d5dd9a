"""What files look like from outside: sizes, times and inodes, not their content."""

import os
import stat
from pathlib import Path

from kerasdistill.files import digest_of


def look(path: Path, *, but: tuple[str, ...] = ()) -> str:
    """Digest of a file's size, times and inode, or of all files' below a folder.

    Writing to a file, replacing it or setting its times changes the digest; moving a
    folder within a file system does not.

    Args:
        path: a file or a folder.
        but: names in the folder, at any depth, that don't count.

    Raises:
        OSError: it is not there, cannot be read, or a folder below is a link.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return digest_of(_numbers(status))
    root, found = os.path.realpath(path), []
    for place, folders, files in os.walk(root, onerror=_raise):
        folders[:] = sorted(name for name in folders if name not in but)
        if any(os.path.islink(os.path.join(place, name)) for name in folders):
            raise OSError(f"{place} holds a link")  # `walk` stops at it
        found.append([os.path.relpath(place, root), *folders])
        for name in sorted(name for name in files if name not in but):
            found.append([name, *_numbers(os.stat(os.path.join(place, name)))])
    return digest_of(found)


def _raise(error: OSError) -> None:
    raise error


def _numbers(status: os.stat_result) -> list[int]:
    times = [status.st_mtime_ns, status.st_ctime_ns]
    return [status.st_size, *times, status.st_ino, status.st_dev]
