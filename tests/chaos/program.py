"""The process that the chaos tests start: it imports once and forks for each command.

Requests are a line of JSON on stdin, their answers a line on stdout. A child runs its
command line as anyone would; what changes the disk under its folder is counted, and at
the moment asked for it is killed or the disk fails. Native writers (TensorFlow's events
and SavedModels) are not counted: kills at random moments meet those.
"""

import builtins
import collections
import ctypes
import errno
import gc
import io
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

PRCTL_DIE_WITH_PARENT = 1
# Process ids and random names, as our own writers and Beam's use them.
_RANDOM_NAMES = (
    (r"\.\d+\.partial\.", ""),
    (r"\.partial\.(.*)\.\w{8}(?=/|$)", r"\1"),
    (r"[0-9a-f]{32}\.partial", "new"),
)
EXAMPLES = {"train": 48, "validation": 24, "test": 24}


class Moments:
    """What changes the disk under `root`, by name, and what comes at which change.

    A name is the same in every process that makes the change: what is done, to which
    file, whether one is there already, and the how many-th write it is.

    Args:
        root: only changes below it count.
        fault: "kill", "count", or the name of an error number.
        at: for an error, the number from 1 of the first change that meets it; all
            later ones do too, as on a disk that is full or read-only.
        done: for a kill, names to pass by; the first other one ends the process.
        one_in: only one name in so many is a moment to be killed at.
        report: descriptor that is told the name, last of all.
    """

    def __init__(self, root, *, fault, at=None, done=(), one_in=1, report):
        self._root = Path(os.path.realpath(root))
        self._fault, self._at, self._done = fault, at, set(done)
        self._one_in, self._report = one_in, report
        self._lock = threading.Lock()
        self._writes = collections.Counter()
        self.seen: list[str] = []

    def place(self, path, dir_fd=None) -> Path | None:
        """Where it lies under the root, None elsewhere."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        folder = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
        whole = Path(os.path.abspath(os.path.join(folder, os.fspath(path))))
        try:
            return (whole.parent.resolve() / whole.name).relative_to(self._root)
        except ValueError:
            return None

    def passing(self, what: str, place: Path, torn=lambda: None) -> None:
        with self._lock:
            name = self._name(what, str(place))
            self.seen.append(name)
            chosen = zlib.crc32(name.encode()) % self._one_in == 0
            if self._fault == "kill" and chosen and name not in self._done:
                os.write(self._report, json.dumps([name]).encode())
                torn()
                os.kill(os.getpid(), signal.SIGKILL)
            if self._at is None or len(self.seen) < self._at:
                return
            # Removing needs no space.
            if self._fault == "ENOSPC" and what in ("unlink", "remove", "rmdir"):
                return
            number = getattr(errno, self._fault)
            raise OSError(number, os.strerror(number), str(place))

    def _name(self, what: str, place: str) -> str:
        for pattern, plain in _RANDOM_NAMES:
            place = re.sub(pattern, plain, place)
        number = ""
        if what == "open":
            self._writes[place] = 0
        if what == "write":
            self._writes[place] += 1
            number = f" {self._writes[place]}"
        over = " again" if (self._root / place).exists() else ""
        return f"{what}{number} {place}{over}"

    def watch(self) -> None:
        """Puts the counters in place, in this process, for good."""
        for name in ("replace", "rename", "fsync", "unlink", "remove", "rmdir"):
            self._wrap(name)
        self._wrap("mkdir")
        moments, plain_open = self, builtins.open

        class Raw(io.FileIO):
            def write(self, data):
                half = memoryview(data)[: len(data) // 2]
                torn = lambda: super(Raw, self).write(half)  # noqa: E731
                moments.passing("write", moments.place(self.fileno()), torn)
                return super().write(data)

        def opened(file, mode="r", buffering=-1, encoding=None, *rest, **more):
            place = None
            if set(mode) & set("wax+") and not isinstance(file, int):
                place = moments.place(file)
            if place is None:
                return plain_open(file, mode, buffering, encoding, *rest, **more)
            moments.passing("open", place)
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            if "b" in mode and buffering == 0:
                return raw
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
            if "b" in mode:
                return kind(raw)
            return io.TextIOWrapper(kind(raw), encoding, *rest)

        builtins.open = io.open = opened

    def _wrap(self, name: str) -> None:
        plain = getattr(os, name)

        def passed(path, *rest, **more):
            place = self.place(path, more.get("dir_fd"))
            if place is not None:
                self.passing(name, place)
            return plain(path, *rest, **more)

        setattr(os, name, passed)


def shrink() -> None:
    """Tiny data, and no time spent on finding out how long it will take."""
    from kerasdistill.experiments.language import costs as language_costs
    from kerasdistill.running import timing
    from pipelines import datasets
    from pipelines.beam import probe
    from pipelines.sources import digits

    raw = digits.read(datasets.Request("", None, (), datasets.IMAGE_SHAPE))
    datasets.SOURCES["digits"] = lambda request: raw
    datasets.QUICK_EXAMPLES = EXAMPLES
    language_costs._TIMED_SECONDS = 0.01
    timing.measure = lambda *a, **k: timing.Speed(0.01, 1e4, 1.0, 1000)
    probe.measure = lambda *a, **k: probe.WorkerSpeed(1e3, 1.0)


def child(request: dict) -> None:
    """One command line, to its end; never returns."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PRCTL_DIE_WITH_PARENT, signal.SIGKILL)
    os.chdir(request["cwd"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    named = {name: request[name] for name in ("fault", "report")}
    moments = Moments(request["cwd"], **named, **request["how"])
    from kerasdistill.cli.__main__ import main

    if request["fault"] is not None:
        moments.watch()
    sys.argv = ["kerasdistill", *request["argv"]]
    try:
        rc = main(request["argv"])
    except BaseException as error:
        import traceback

        traceback.print_exc()
        rc = error.code if isinstance(error, SystemExit) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(request["report"], json.dumps(moments.seen).encode())
    os._exit(rc or 0)


class Running:
    """A command in a child process, under a time limit, perhaps to be killed."""

    def __init__(self, request: dict):
        self._report = tempfile.TemporaryFile()  # a pipe would hold 64 KiB
        self._began, self._limit = time.monotonic(), request["limit"]
        self._pid = os.fork()
        if not self._pid:
            child({**request, "report": self._report.fileno()})
        deadlines = [(request["limit"], os.killpg), (request["after"], os.kill)]
        self._timers = [
            threading.Timer(seconds, kill, (self._pid, signal.SIGKILL))
            for seconds, kill in deadlines
            if seconds is not None
        ]
        for timer in self._timers:
            timer.start()

    def wait(self) -> dict:
        _, status = os.waitpid(self._pid, 0)
        for timer in self._timers:
            timer.cancel()
        seconds = time.monotonic() - self._began
        with self._report:
            self._report.seek(0)
            seen = json.loads(self._report.read() or b"[]")
        code = os.waitstatus_to_exitcode(status)
        hung = seconds >= self._limit
        return {"rc": code, "seconds": seconds, "seen": seen, "hung": hung}


def serve(requests, answers) -> None:
    """Each line is a list of requests, which run at the same time."""
    for line in requests:
        running = []
        for number, request in enumerate(json.loads(line)):
            time.sleep(request["later"] if number else 0)
            running.append(Running(request))
        print(json.dumps([each.wait() for each in running]), file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import kerasdistill.cli.commands  # noqa: F401

    shrink()
    gc.freeze()  # what is imported is shared with the children, and stays so
    print(json.dumps("ready"), file=answers, flush=True)
    serve(sys.stdin, answers)
