"""Workers that stop answering are named, whichever runner started them.

Beam waits for one that is stopped, or whose memory is on a slow disk, without a word.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from kerasdistill import terminal
from kerasdistill.pulse import Pulse, beside

SILENCE_SECONDS = 120.0  # unheard for so long, then a worker is named
BEAT_SECONDS = 5.0
_FOLDER = "alive"  # in the job's scratch folder


def say(line: str) -> None:
    terminal.say(f"precompute: {line}")


def beating(scratch: str, *, host: str, pid: int) -> contextlib.AbstractContextManager:
    """Lets a thread of this worker count until it is left. Slow work goes on beside it:
    only a process that does nothing at all falls silent."""
    if FileSystems.get_scheme(scratch) is not None:
        return contextlib.nullcontext()  # a bucket's files cost money and time
    pulse = Pulse(Path(scratch, _FOLDER))
    return pulse.beating(f"{host}-{pid}", seconds=BEAT_SECONDS)


class Watch:
    """Names, once each, the workers of the job in `scratch` that are not heard for
    `seconds` by `clock`, and says so when they are heard again."""

    def __init__(
        self,
        scratch: str | Path,
        *,
        seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = say,
    ) -> None:
        self._pulse = Pulse(Path(scratch, _FOLDER), clock=clock)
        self._seconds, self._say = seconds, say
        self._told: set[str] = set()

    def look(self) -> None:
        """Reads all the counts once."""
        there = {file.name for file in self._pulse.folder.glob("*")}
        silent = self._pulse.silent(there, seconds=self._seconds)
        for name in sorted(silent - self._told):
            host, _, pid = name.rpartition("-")
            self._say(
                f"worker {host}:{pid} has said nothing for {self._seconds:g} s "
                "(stopped, or short of memory?) and the job waits for it: wake it with "
                f"`kill -CONT {pid}` on {host}, or end it with `kill -9 {pid}` and run "
                "the same command again"
            )
        for name in sorted((self._told - silent) & there):
            self._say(f"worker {':'.join(name.rsplit('-', 1))} is heard again")
        self._told = silent


@contextlib.contextmanager
def watching(scratch: str, **how: object) -> Iterator[None]:
    """Lets a thread look while the pipeline runs; `how` is that of `Watch`."""
    if FileSystems.get_scheme(scratch) is not None:
        yield
        return
    # Those of an earlier process say nothing any more.
    shutil.rmtree(Path(scratch, _FOLDER), ignore_errors=True)
    watch = Watch(scratch, **how)

    def go_on(ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the next look may come through
                watch.look()

    try:
        with beside(go_on):
            yield
    finally:
        # Workers that outlive the job stop counting for it.
        shutil.rmtree(Path(scratch, _FOLDER), ignore_errors=True)
