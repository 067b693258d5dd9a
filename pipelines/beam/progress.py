"""Progress of a Beam job, read off the shards that appear."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from apache_beam.io.filesystems import FileSystems

from kerasdistill.pulse import beside
from kerasdistill.terminal import say
from pipelines.beam import files
from pipelines.beam.job import Job
from pipelines.beam.shards import Work, last_written
from pipelines.stored.layout import sidecar_name

Progress = Callable[[int, int, float | None], None]


def print_progress(ready: int, total: int, seconds_left: float | None) -> None:
    """A `progress` that prints one line to stderr."""
    clock = timedelta(seconds=round(seconds_left or 0))
    left = "" if seconds_left is None else f", {clock} left"
    say(f"precompute: {ready} of {total} shards{left}")


@contextlib.contextmanager
def reporting(
    job: Job, todo: list[Work], progress: Progress | None, *, start: float = 0.0
) -> Iterator[None]:
    """Counts finished shards in a thread while the pipeline runs; until the first of
    them is begun the time of `start` shards passes."""
    names = [last_written(job.layout, work, job.kept_digests) for work in todo]
    pending = [files.join(job.output, sidecar_name(name)) for name in names]
    # A damaged shard's sidecar is still there: it must not count as ready.
    if stale := [path for path in pending if FileSystems.exists(path)]:
        files.delete(stale)
    if not progress:
        yield
        return
    interval = 1.0 if FileSystems.get_scheme(job.output) is None else 15.0
    arguments = (pending, job.layout.num_shards - len(todo), progress, interval, start)
    with beside(functools.partial(_report, *arguments)):
        yield


def _report(
    pending: Sequence[str],
    skipped: int,
    progress: Progress,
    interval: float,
    start: float,
    stop: threading.Event,
) -> None:
    total, began, ready = len(pending), time.monotonic(), 0
    progress(skipped, skipped + total, None)
    while pending:
        stopping = stop.wait(interval)
        pending = [path for path in pending if not FileSystems.exists(path)]
        if (now := total - len(pending)) > ready:
            ready = now
            left = seconds_left(time.monotonic() - began, ready, total, start=start)
            progress(skipped + ready, skipped + total, left)
        if stopping:
            return


def seconds_left(seconds: float, ready: int, total: int, *, start: float) -> float:
    """What a job of `total` shards has before it, after so many seconds with `ready`.

    `start` is what comes once, such as compiling, in shards' time: it says nothing of
    the shards to come.
    """
    return seconds / (ready + start) * (total - ready)
