"""A search by a chief and three workers, killed and stopped again and again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 5
WAIT_SECONDS = 1200
SEARCH = (
    "baseline --budget 20k --convs 2 --epochs 2 --schedule cosine --dataset digits "
    "--quick --precision float32 --trials 6 --oracle random --json"
)
ROLES = ("chief", "one", "two", "three")

pytestmark = pytest.mark.slow


class Crew:
    """The processes of a search in `folder`; logs and answers lie beside it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, role: str | None) -> None:
        """Begins it, or begins it again; None: a process that does all alone."""
        options = ["--search", str(self._folder / "search")]
        if role is not None:
            options += ["--chief", "127.0.0.1:5151"]
            chief = ["--worker-timeout", "5"]
            options += chief if role == "chief" else ["--worker", role]
        with (
            open(self._folder / f"{role}.json", "wb") as out,
            open(self._folder / f"{role}.log", "ab") as log,
        ):
            self.running[role] = subprocess.Popen(
                [sys.executable, "-m", "kerasdistill.cli", *SEARCH.split(), *options],
                stdout=out,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def kill(self, role: str) -> bool:
        """Whether it was still at work."""
        process = self.running[role]
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return alive

    def doze(self, role: str, seconds: float) -> None:
        """Stops it for longer than its lease lasts."""
        self.running[role].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.running[role].send_signal(signal.SIGCONT)

    def answer(self, role: str | None) -> dict:
        assert self.running[role].wait(WAIT_SECONDS) == 0
        return json.loads((self._folder / f"{role}.json").read_text())


@pytest.fixture
def crew(tmp_path):
    made = Crew(tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def results(folder: Path) -> dict[str, tuple[int, int]]:
    """The finished trials' files: none may be written a second time."""
    found = (folder / "search" / "trials").glob("trial_*/results.json")
    return {p.parent.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def test_five_kills_and_as_many_stops_at_random_moments(crew, tmp_path):
    draw = random.Random("crew")
    for role in ROLES:
        crew.start(role)
    kills, seen = 0, {}
    limit = time.monotonic() + WAIT_SECONDS
    while kills < KILLS and time.monotonic() < limit:
        time.sleep(draw.uniform(2, 20))
        victim = draw.choice(ROLES)
        if crew.running["chief"].poll() is not None:
            break  # the search has ended
        crew.doze(draw.choice(ROLES), draw.uniform(0, 8))
        kills += crew.kill(victim)
        now = results(tmp_path)
        assert seen.items() <= now.items()
        seen = now
        crew.start(victim)
    found = crew.answer("chief")
    assert (found["trials"], found["failed_trials"]) == (6, 0)
    assert seen.items() <= results(tmp_path).items()
    assert kills >= KILLS
    finished = results(tmp_path)
    crew.start(None)  # one process alone finds all of it
    assert crew.answer(None) == found
    assert results(tmp_path) == finished
