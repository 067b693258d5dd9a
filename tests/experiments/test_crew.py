"""A search by a chief and three workers: the command line, as real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kerasdistill.runs import read_json

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 240
SEARCH = (
    "baseline --budget 30k --convs 2 --epochs 2 --schedule cosine --dataset digits "
    "--quick --precision float32 --batch-size 64 --trials 5 --oracle random --json"
)

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Starts the search's command with further options; kills what is left."""
    started = []

    def begin(*options):
        line = [*SEARCH.split(), "--search", str(tmp_path / "search")]
        options = ("--chief", "127.0.0.1:5151", *options)
        with open(tmp_path / f"log-{len(started)}", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "kerasdistill.cli", *line, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def answer(process):
    out, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0
    return json.loads(out)


def until(condition):
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def test_a_search_by_five_processes_of_which_two_are_killed_and_one_sleeps(
    start, tmp_path
):
    trials = tmp_path / "search" / "trials"
    chief = start("--worker-timeout", "4")
    first, sleeper = start("--worker", "1"), start("--worker", "2")
    # Inside a trial, which has a checkpoint then.
    until(lambda: len(list(trials.glob("attempt_*/checkpoints/last.npz"))) == 2)
    first.send_signal(signal.SIGKILL)
    sleeper.send_signal(signal.SIGSTOP)
    others = [start("--worker", name) for name in "34"]
    until(lambda: len(list(trials.glob("trial_*/results.json"))) >= 2)
    chief.send_signal(signal.SIGKILL)
    chief.communicate()
    chief = start("--worker-timeout", "4")
    told = [answer(worker) for worker in others]
    found = answer(chief)
    assert (found["trials"], found["failed_trials"]) == (5, 0)
    sleeper.send_signal(signal.SIGCONT)
    assert answer(sleeper)["trials"] <= 1
    # A trial that was done when the first worker died is nobody else's.
    assert 3 <= sum(each["trials"] for each in told) <= 5
    listed = read_json(tmp_path / "search" / "trials.json")["trials"]
    assert [trial["number"] for trial in listed] == [1, 2, 3, 4, 5]
    points = {tuple(trial["values"].values()) for trial in listed}
    assert len(points) == 5
    assert found["val_accuracy"] == max(trial["val_accuracy"] for trial in listed)
    assert 0 <= found["test_accuracy"] <= 1
    assert "no port is opened" in (tmp_path / "log-0").read_text()
    # The search is finished: one process alone finds all of it.
    assert answer(start()) == found


def test_a_worker_of_another_search_is_refused(start, tmp_path):
    chief = start()
    worker = start("--worker", "1", "--seed", "1")
    worker.communicate(timeout=WAIT_SECONDS)
    chief.kill()
    assert worker.returncode == 2
    log = (tmp_path / "log-1").read_text()
    assert "describes a search with another" in log and "Traceback" not in log
