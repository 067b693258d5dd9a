"""Progress of a Beam job, read off the shards that appear."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.beam import files
from pipelines.beam.job import Job
from pipelines.beam.shards import Work, last_written
from pipelines.stored.layout import sidecar_name

Progress = Callable[[int, int, float | None], None]


def print_progress(ready: int, total: int, seconds_left: float | None) -> None:
    """A `progress` that prints one line to stderr."""
    left = "" if seconds_left is None else f", {_clock(seconds_left)} left"
    print(f"precompute: {ready} of {total} shards{left}", file=sys.stderr, flush=True)


class reporting:
    """Counts finished shards in a thread while the pipeline runs."""

    def __init__(
        self,
        job: Job,
        todo: Sequence[Work],
        progress: Progress | None,
    ) -> None:
        self._progress = progress
        self._skipped = len(job.layout.shards()) - len(todo)
        names = [last_written(job.layout, work, job.kept_digests) for work in todo]
        self._pending = [files.join(job.output, sidecar_name(name)) for name in names]
        remote = FileSystems.get_scheme(job.output) is not None
        self._interval = 15.0 if remote else 1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        # A damaged shard's sidecar is still there: it must not count as ready.
        stale = [path for path in self._pending if FileSystems.exists(path)]
        if stale:
            FileSystems.delete(stale)
        if self._progress:
            self._thread.start()

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        if self._progress:
            self._thread.join()

    def _watch(self) -> None:
        total, began, ready = len(self._pending), time.monotonic(), 0
        self._progress(self._skipped, self._skipped + total, None)
        while self._pending:
            stopping = self._stop.wait(self._interval)
            self._pending = [p for p in self._pending if not FileSystems.exists(p)]
            if (now := total - len(self._pending)) > ready:
                ready = now
                left = (time.monotonic() - began) / ready * (total - ready)
                self._progress(self._skipped + ready, self._skipped + total, left)
            if stopping:
                return


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
