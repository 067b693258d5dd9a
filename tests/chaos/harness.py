"""Commands in processes of their own, tiny inputs, and what must be equal after."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasdistill.plain_paths import plain

LIMIT_SECONDS = 240
RANDOM_KILLS = 5
WHOLE = ("recipe.json", "manifest.json", "best_recipe.json")
EPOCH = re.compile(r"^(epoch \d+/\d+): ", re.MULTILINE)
SHARED = ("--dataset", "digits", "--quick", "--precision", "float32", "--json")
TEACHER = "teacher --filters 4,4,6 --dense 8 --epochs 1 --schedule cosine"
PRECOMPUTE = "precompute --passes 2 --direct_running_mode in_memory"

# What tells of time or of how often the work was begun.
_OF_THE_MOMENT = {
    "seconds",
    "images_per_second",
    "planned_seconds",
    "process_seconds",
    "views_per_second",
    "words_per_second",
    "latency",
    "bytes",  # a SavedModel holds names that are drawn anew
    "plan",
    "shards_done",
    "shards_skipped",
    "command",
    "checksum",
    "files",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (negative: by that signal), seconds, changes of
    the disk, and what it said."""

    rc: int
    seconds: float
    seen: list[str]
    hung: bool
    said: str

    @property
    def answer(self) -> dict:
        """The JSON object it printed."""
        return json.loads(self.said.strip().splitlines()[-1])

    @property
    def error(self) -> str:
        """The one line it refused with; there must be one, and no traceback."""
        assert self.rc in (1, 2) and "Traceback" not in self.said, self.said[-3000:]
        lines = [line for line in self.said.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.said[-3000:]
        return lines[0]


class Server:
    """`program.py`, running."""

    def __init__(self, log: Path):
        self._logs = tempfile.TemporaryDirectory(prefix="commands-")
        with open(log, "wb") as errors:
            self._process = self._start(errors)
        if self._process.stdout.readline() != '"ready"\n':
            raise RuntimeError(log.read_text())

    def _start(self, errors) -> subprocess.Popen:
        root = Path(__file__).resolve().parents[2]
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("program.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": str(root),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
                "TF_NUM_INTRAOP_THREADS": "1",  # enough for so little
            },
        )

    def run(
        self,
        line: str | list[str],
        cwd: Path,
        *,
        fault: str | None = None,
        after: float | None = None,
        limit: float = LIMIT_SECONDS,
        **how,
    ) -> Ended:
        """Runs a command line in `cwd`.

        Args:
            line: without the options all share.
            cwd: working directory; runs/ is made in it.
            fault: what is to happen, and how: see `program.Moments`.
            after: seconds until the process is killed.
            limit: seconds until it and its children count as hung, and are killed.
            how: at, done or one_in of `program.Moments`.
        """
        return self.together([(line, cwd)], fault, after, limit, how)[0]

    def together(
        self,
        lines: list[tuple[str | list[str], Path]],
        fault: str | None = None,
        after: float | None = None,
        limit: float = LIMIT_SECONDS,
        how: dict | None = None,
        later: float = 0.0,
    ) -> list[Ended]:
        """Runs command lines side by side, `later` seconds after one another."""
        requests, before = [], []
        for number, (line, cwd) in enumerate(lines):
            words = line.split() if isinstance(line, str) else line
            # Not beside `cwd`, whose disk may be full or read-only.
            name = hashlib.sha256(f"{cwd} {number}".encode()).hexdigest()
            log = Path(self._logs.name, name)
            before.append((log, log.stat().st_size if log.exists() else 0))
            cwd.mkdir(exist_ok=True)
            request = {"argv": [*words, *SHARED], "cwd": str(cwd), "log": str(log)}
            request |= {"fault": fault, "how": how or {}, "after": after}
            requests.append({**request, "limit": limit, "later": later})
        print(json.dumps(requests), file=self._process.stdin, flush=True)
        answers = json.loads(self._process.stdout.readline())
        said = [
            log.read_bytes()[size:].decode(errors="replace") for log, size in before
        ]
        return [Ended(**a, said=text) for a, text in zip(answers, said, strict=True)]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        self._logs.cleanup()


@dataclass(frozen=True)
class Inputs:
    """A finished teacher, a set by it in either store, and a folder of text."""

    teacher: str
    images: str
    replay: str
    text: str

    def fill(self, line: str) -> str:
        """A command line with the paths in it."""
        return line.format(**vars(self))


def finished(cwd: Path) -> dict[str, tuple[int, int]]:
    """Files of finished units, which nothing may write again: shards that have their
    sidecar, results of trials and of runs but precompute's, whose results count."""
    units = [p for p in cwd.rglob("results.json") if "precompute" not in p.parent.name]
    for sidecar in cwd.rglob("sidecars/*.json"):
        units += [sidecar, sidecar.parents[1] / sidecar.stem]
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in units}


class Chain:
    """One folder, and all that happens in it until the command has ended well."""

    def __init__(self, server, line: str, cwd: Path):
        self._run = lambda **how: server.run(line, cwd, **how)
        self._cwd = cwd
        self.kills = 0
        self._epochs = Counter()

    def go_on(self, **how) -> bool:
        """Runs the command once more; whether it came to its end."""
        before = finished(self._cwd) if self._cwd.exists() else {}
        self.last = ended = self._run(**how)
        assert not ended.hung
        assert ended.rc in (0, -signal.SIGKILL), ended.said[-3000:]
        after = finished(self._cwd)
        assert {path: after.get(path) for path in before} == before
        # A trial's epochs have the same numbers as its neighbour's: no more than so
        # many lines for each in all.
        self._epochs.update(EPOCH.findall(ended.said))
        self.kills += ended.rc != 0
        return ended.rc == 0

    def check(self, ended, expected) -> None:
        """What is there is what the undisturbed run left, and no epoch was repeated."""
        assert not self._epochs - Counter(EPOCH.findall(ended.said))
        found = outcome(self._cwd)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == value, name


def killed_at_random(
    server: Server,
    line: str | list[str],
    folder: Path,
    ended: Ended,
    expected: dict[str, object],
    draw: random.Random,
) -> int:
    """Kills a command `RANDOM_KILLS` times, in as many folders as that takes; each
    time it must come to what `ended` left, which is `expected`."""
    kills = 0
    for number in range(20):
        chain = Chain(server, line, folder / f"cwd-{number}")
        while not chain.go_on(after=draw.uniform(0.1, 0.9) * ended.seconds):
            if kills + chain.kills >= RANDOM_KILLS:
                assert chain.go_on()
                break
        chain.check(ended, expected)
        kills += chain.kills
        if kills >= RANDOM_KILLS:
            return kills
    raise AssertionError(f"killed {kills} times only")


def outcome(cwd: Path) -> dict[str, object]:
    """All that must not depend on how often the work was interrupted."""
    found = {}
    for path in sorted(cwd.rglob("*")):
        name = str(path.relative_to(cwd))
        # SavedModels of equal models differ, and so do their digests.
        if not path.is_file() or {".work", ".saved_models"} & set(path.parts):
            continue
        if path.name in ("results.json", "card.json", "trials.json", "oracle.json"):
            found[name] = _lasting(json.loads(path.read_text()))
        elif (
            path.suffix == ".keras"
            or path.name in WHOLE
            or (".tfrecord-" in path.name and path.suffix != ".json")
        ):
            found[name] = path.read_bytes()
        elif path.name == "variables.index":
            found[name] = variables(path.with_suffix(""))
        else:
            found[name] = "there"
    # Events are appended to, one file a process.
    return {n: v for n, v in found.items() if "tensorboard" not in n}


def _lasting(value):
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in _OF_THE_MOMENT}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def variables(prefix: Path) -> list[str]:
    """Digests of a SavedModel's arrays; its graph's own bytes vary with the process."""
    import tensorflow as tf

    with plain(prefix.parent) as folder:
        reader = tf.train.load_checkpoint(f"{folder}/{prefix.name}")
        names = [n for n in reader.get_variable_to_shape_map() if "OBJECT_" not in n]
        arrays = [np.asarray(reader.get_tensor(name)) for name in names]
    return sorted(hashlib.sha256(each.tobytes()).hexdigest() for each in arrays)
