"""A leader and three workers as real processes: killed, stopped, woken up, counted."""

import os
import random
import signal
import time

import pytest

from tests.clusters import wait_for
from tuners.ledger import Ledger

from . import search_program as program

pytestmark = pytest.mark.slow
START_SECONDS = 180  # importing TensorFlow, four times over on a busy machine
TIMES = {"worker_timeout": 3, "idle_timeout": START_SECONDS}


def begin(programs, names="abc"):
    """The leader, and the workers by name."""
    leader = programs.start("lead", **TIMES)
    workers = {name: programs.start(name, patience=START_SECONDS) for name in names}
    return leader, workers


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
    """Every trial completed as one machine would have proposed it; begun once, or twice
    if named in `again`."""
    ledger = Ledger(program.make_oracle(), folder)
    ledger.refresh()
    oracle = ledger.oracle
    numbers = range(program.TRIALS)
    assert sorted(map(int, oracle.end_order)) == list(numbers)
    assert not oracle.ongoing_trials and not oracle._retry_queue
    for number, values in enumerate(program.proposed()):
        trial = oracle.trials[str(number)]
        assert trial.hyperparameters.values == values
        assert (trial.status, trial.score) == ("COMPLETED", program.score(values))
        assert len(trial.metrics.get_history("score")) == 1
    if again is not None:
        ran = [trial for _, trial in program.runs(folder, "begin")]
        assert sorted(ran) == sorted([*numbers, *again])
    places = [path.name for path in (folder / "trials").glob("*_*")]
    assert sorted(places) == [f"trial_{number}" for number in numbers]


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_gone_loses_its_trial(fate, programs, tmp_path):
    program.hold(tmp_path, 1)
    leader, workers = begin(programs)
    wait_for(
        lambda: 1 in [trial for _, trial in program.runs(tmp_path, "begin")],
        seconds=START_SECONDS,
    )
    (victim,) = [w for w, trial in program.runs(tmp_path, "begin") if trial == 1]
    gone = workers.pop(victim)
    os.kill(gone.pid, fate)
    wait_for(
        lambda: [trial for _, trial in program.runs(tmp_path, "begin")].count(1) == 2,
        seconds=START_SECONDS,
    )
    program.release(tmp_path)
    all_end(*workers.values(), leader)
    check_counts(tmp_path, again=[1])
    if fate == signal.SIGSTOP:
        os.kill(gone.pid, signal.SIGCONT)
        all_end(gone)
        assert "this one's result is dropped" in programs.said(gone)
        check_counts(tmp_path, again=[1])


def test_a_leader_may_be_killed_or_stopped(programs, tmp_path):
    program.hold(tmp_path, 2)
    leader, workers = begin(programs)
    begun(tmp_path, 3)
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    second = programs.start("lead", **TIMES)
    wait_for(lambda: "led from here" in programs.said(second), seconds=START_SECONDS)
    os.kill(second.pid, signal.SIGSTOP)
    program.release(tmp_path)
    all_end(*workers.values())
    os.kill(second.pid, signal.SIGCONT)
    all_end(second)
    check_counts(tmp_path)


def test_anything_may_happen_at_any_moment(programs, tmp_path):
    draw = random.Random("cluster")
    leader, workers = begin(programs)
    asleep = {}
    for _ in range(8):
        time.sleep(draw.uniform(0.2, 2))
        name = draw.choice("abc")
        if name in asleep:
            os.kill(asleep.pop(name).pid, signal.SIGCONT)
        elif workers[name].poll() is None and draw.random() < 0.5:
            asleep[name] = workers[name]
            os.kill(workers[name].pid, signal.SIGSTOP)
        else:
            workers[name].kill()
            workers[name].wait()
            workers[name] = programs.start(name, patience=START_SECONDS)
    for process in asleep.values():
        os.kill(process.pid, signal.SIGCONT)
    all_end(*workers.values(), leader)
    check_counts(tmp_path, again=None)
