"""Where TensorBoard looks: one folder for each run, by a name that people read.

A run's own folder is named by a digest. What TensorBoard shows of it lies in
`tensorboard/NAME` beside that folder, so that `tensorboard --logdir
WORKDIR/tensorboard` lists the runs by name. A file in it says whose it is.
"""

import errno
import itertools
import os
import shutil
import uuid
from pathlib import Path

from kerasdistill.errors import UserError
from kerasdistill.reading_files import read_bytes

FOLDER = "tensorboard"
OWNER = "run"  # the file with the name of the run's folder
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


def of_runs(workdir: str | Path) -> dict[Path, list[Path]]:
    """The folders for TensorBoard of each run directly in `workdir`, by the run's own
    folder, which may be gone."""
    found: dict[Path, list[Path]] = {}
    for file in sorted(Path(workdir, FOLDER).glob(f"*/{OWNER}")):
        try:
            name = read_bytes(file, "json").decode()
        except (OSError, UserError, ValueError):
            continue
        if name and Path(name).name == name:
            found.setdefault(Path(workdir) / name, []).append(file.parent)
    return found


def of_run(run: str | Path) -> Path | None:
    """A run's folder for TensorBoard; None if it has none."""
    return next(iter(of_runs(Path(run).parent).get(Path(run), ())), None)


def claim(run: str | Path, name: str) -> Path:
    """The run's folder for TensorBoard, on first use made under `name`, or `name`-2
    and so on where that is another run's.

    It lies in the run's own folder where an older version began one, or nothing can
    be written beside it.
    """
    run = Path(run)
    if (inside := run / FOLDER).is_dir():
        return inside
    if (there := of_run(run)) is not None:
        return there
    # Renamed into place with its owner's name: two processes never get the same.
    beside = run.parent / FOLDER / f".partial.{uuid.uuid4().hex[:8]}"
    try:
        beside.mkdir(parents=True)
        (beside / OWNER).write_text(run.name)
        return _renamed(beside, name)
    except PermissionError:
        return inside
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _renamed(beside: Path, name: str) -> Path:
    for number in itertools.count(1):
        path = beside.with_name(name if number == 1 else f"{name}-{number}")
        try:
            os.rename(beside, path)
            return path
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
