"""A chief and two workers as real processes: killed, restarted, counted."""

import json
import os
import re
import signal
import time

import pytest

from tests.clusters import wait_for
from tuners import handover

from . import search_program as program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
    ),
]
START_SECONDS = 180  # importing TensorFlow, three times over on a busy machine
TIMEOUT = {"worker_timeout": 3, "idle_timeout": START_SECONDS}
PATIENT = json.dumps({"patience": START_SECONDS})


def begun(folder, count):
    """Waits until so many runs have begun; (worker, trial) of each."""
    return wait_for(
        lambda: len(found := program.runs(folder, "begin")) >= count and found,
        seconds=START_SECONDS,
    )


def all_end(*started):
    for each in started:
        assert each.wait(START_SECONDS) == 0


def check_counts(folder, *, again=()):
    """Every trial completed once, as one machine would have proposed it; begun once,
    or twice if named in `again`."""
    oracle = program.make_oracle(folder)
    handover.resume(oracle)
    numbers = range(program.TRIALS)
    assert sorted(map(int, oracle.end_order)) == list(numbers)
    assert not oracle.ongoing_trials and not oracle._retry_queue
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}
    for trial in oracle.trials.values():
        history = trial.metrics.get_history("score")
        assert [len(each.value) for each in history] == [1]
        assert trial.score == program.score(trial.hyperparameters.values)
    begun = [trial for _, trial in program.runs(folder, "begin")]
    assert sorted(begun) == sorted([*numbers, *again])
    ended = [trial for _, trial in program.runs(folder, "end")]
    assert sorted(ended) == list(numbers)


def test_every_trial_is_run_once(programs, tmp_path):
    program.hold(tmp_path, 0, 1)  # so that each worker has one
    chief = programs.start("chief", json.dumps(TIMEOUT))
    workers = [programs.start(name, PATIENT) for name in ("1", "2")]
    begun(tmp_path, 2)
    program.release(tmp_path)
    all_end(*workers, chief)
    check_counts(tmp_path)
    assert {worker for worker, _ in program.runs(tmp_path, "begin")} == {
        "worker1",
        "worker2",
    }


def test_a_killed_worker_s_trial_is_run_again_by_another(programs, tmp_path):
    program.hold(tmp_path, 1)
    chief = programs.start("chief", json.dumps(TIMEOUT))
    workers = {f"worker{n}": programs.start(str(n), PATIENT) for n in (1, 2)}
    wait_for(
        lambda: 1 in [trial for _, trial in program.runs(tmp_path, "begin")],
        seconds=START_SECONDS,
    )
    (victim,) = [w for w, trial in program.runs(tmp_path, "begin") if trial == 1]
    killed = workers.pop(victim)
    os.kill(killed.pid, signal.SIGKILL)
    program.release(tmp_path)
    all_end(*workers.values(), chief)
    check_counts(tmp_path, again=[1])
    (other,) = workers
    assert program.runs(tmp_path, "begin").count((other, 1)) == 1
    assert f"worker {victim[-1]} is unheard for 3 s" in programs.said(chief)


def test_a_killed_chief_goes_on_with_the_trials_that_run(programs, tmp_path):
    program.hold(tmp_path, 2, 3)
    chief = programs.start("chief", json.dumps(TIMEOUT))
    workers = [programs.start(name, PATIENT) for name in ("1", "2")]
    begun(tmp_path, 4)
    os.kill(chief.pid, signal.SIGKILL)
    chief.wait()
    # One worker ends its trial while there is no chief, the other after.
    (tmp_path / "hold" / "2").unlink()
    wait_for(lambda: 2 in [trial for _, trial in program.runs(tmp_path, "end")])
    second = programs.start("chief", json.dumps(TIMEOUT))
    begun(tmp_path, 5)
    program.release(tmp_path)
    all_end(*workers, second)
    check_counts(tmp_path)
    assert re.search(r"chief at .*, 2 of 8 trials done", programs.said(second))


def test_chief_and_worker_killed_together_lose_nothing(programs, tmp_path):
    program.hold(tmp_path, 0, 1)
    chief = programs.start("chief", json.dumps(TIMEOUT))
    first = programs.start("1", PATIENT)
    begun(tmp_path, 1)
    for each in (first, chief):
        os.kill(each.pid, signal.SIGKILL)
        each.wait()
    program.release(tmp_path)
    again = [programs.start(role, PATIENT) for role in ("1", "2")]
    chief = programs.start("chief", json.dumps(TIMEOUT))
    all_end(*again, chief)
    check_counts(tmp_path, again=[0])


def test_a_chief_whose_workers_are_dead_ends(programs, tmp_path):
    program.hold(tmp_path, 0)
    asked = {"worker_timeout": 1, "idle_timeout": 30}
    chief = programs.start("chief", json.dumps(asked))
    worker = programs.start("1", PATIENT)
    begun(tmp_path, 1)
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    assert chief.wait(60) == 2
    assert 30 <= time.monotonic() - began < 40
    assert "no worker was alive for 30 s, 0 of 8 trials done" in programs.said(chief)


def test_a_worker_without_a_chief_ends(programs, tmp_path):
    worker = programs.start("1", json.dumps({"patience": 2}))
    assert worker.wait(START_SECONDS) == 2
    last = programs.said(worker).splitlines()[-1]
    assert last.startswith(f"error: no chief answers at {programs.address} for 2 s;")
