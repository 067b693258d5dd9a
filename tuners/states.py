"""States that many processes replace: files with numbers, each written once, for good.

The next is published by a hard link, which fails where its number is taken. Nobody
holds a lock that a stopped process could keep, and one that wakes up after hours can
overwrite nothing.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import sealed
from kerasdistill.runs import read_json


class States:
    """Numbered states in a folder on storage that all share; `writer` is one's own."""

    def __init__(self, folder: Path, *, writer: str) -> None:
        self._folder, self._beside = folder, folder / f"new-{writer}"

    def latest(self) -> int:
        """The greatest number; 0 while there is none."""
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(self._folder)
            return max((int(name) for name in names if name.isdigit()), default=0)
        return 0

    def read(self) -> tuple[int, dict[str, Any]]:
        """The latest number and its state; UserError if there is none,
        StaleArtifactError if it is damaged."""
        while True:
            number = self.latest()
            try:
                return number, read_json(self._path(number))
            except (StaleArtifactError, UserError):
                if self.latest() == number:
                    raise  # otherwise it was emptied, since there are newer ones

    def publish(self, number: int, state: dict[str, Any]) -> bool:
        """Whether it was this process, and no other, that wrote the state `number`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # One that a killed process left may be a state's other name.
        self._beside.unlink(missing_ok=True)
        try:
            with open(self._beside, "x") as file:
                json.dump(sealed(state), file)  # NaN is a word of KerasTuner's
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(self._beside, self._path(number))
            ours = self._beside.stat().st_nlink == 2  # an answer may be lost over NFS
        finally:
            self._beside.unlink(missing_ok=True)
        if ours:
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            # The name of an older one stays: it is what refuses the late.
            with contextlib.suppress(FileNotFoundError):
                os.truncate(self._path(number - 2), 0)
        return ours

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}"
