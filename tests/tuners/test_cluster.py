"""Who leads and who works, in one process: what each is told, and when it ends."""

import time

import pytest

from kerasdistill.errors import DivergedError, UserError, WorkersLostError
from tests.clusters import wait_for
from tuners import cluster
from tuners.ledger import Ledger

from . import search_program as program
from .conftest import Background

# KerasTuner asks for the current thread in an older way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)


@pytest.fixture
def lead(tmp_path):
    """Starts a leader in a thread."""

    def start(*, trials=2, **options):
        oracle = program.make_oracle(trials=trials)
        options = {"worker_timeout": 1.5, "idle_timeout": 20, **options}
        return oracle, Background(cluster.lead, oracle, tmp_path, **options)

    return start


@pytest.fixture
def work(tmp_path):
    """Runs a worker's loop with a function of (values, folder, check)."""

    def start(run=program.train, *, worker="a", oracle=None, **options):
        oracle = oracle or program.make_oracle(trials=2)
        options = {"patience": 5, **options}
        return cluster.work(oracle, tmp_path, worker=worker, run=run, **options)

    return start


def test_three_workers_run_every_trial_once(tmp_path, lead):
    program.hold(tmp_path, 0, 1, 2)
    told = []
    oracle, leader = lead(
        trials=program.TRIALS, changed=lambda: told.append(len(oracle.end_order))
    )
    workers = [Background(program.work, tmp_path, worker=name) for name in "abc"]
    wait_for(lambda: len(program.runs(tmp_path, "begin")) == 3)
    program.release(tmp_path)
    assert sum(worker.wait() for worker in workers) == program.TRIALS
    leader.wait()
    ran = [trial for _, trial in program.runs(tmp_path, "begin")]
    assert sorted(ran) == list(range(program.TRIALS))
    assert told[-1] == program.TRIALS and told == sorted(set(told))
    # One machine proposes the same.
    for number, values in enumerate(program.proposed()):
        trial = oracle.trials[str(number)]
        assert trial.hyperparameters.values == values
        assert trial.score == program.score(values)


def test_workers_go_on_without_a_leader(tmp_path, work):
    Ledger(program.make_oracle(), tmp_path).begin(max_trials=3, worker_timeout=10)
    assert work() == 3


def test_a_worker_waits_while_another_runs_the_last_trial(tmp_path, lead):
    program.hold(tmp_path, 1)
    oracle, leader = lead()
    workers = [Background(program.work, tmp_path, worker=name) for name in "ab"]
    wait_for(lambda: program.runs(tmp_path, "end"))
    time.sleep(0.3)
    assert all(worker.thread.is_alive() for worker in workers)
    program.release(tmp_path)
    leader.wait()
    assert sorted(worker.wait() for worker in workers) in ([0, 2], [1, 1])


def test_a_diverged_trial_has_failed(lead, work):
    oracle, leader = lead()

    def run(values, folder, check):
        if folder.name == "attempt_0_1":
            raise DivergedError("the loss is nan at step 3")
        return program.train(values, folder)

    assert work(run) == 2
    leader.wait()
    assert oracle.trials["0"].status == "FAILED"
    assert oracle.trials["0"].message == "the loss is nan at step 3"


def test_a_worker_that_fails_gives_its_trial_back(lead, work):
    oracle, leader = lead(worker_timeout=60)

    def fail(values, folder, check):
        raise UserError("no memory for it")

    for _ in range(2):
        with pytest.raises(UserError, match="no memory"):
            work(fail)
    assert work() == 2
    leader.wait()
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}


def test_no_search_is_said_in_bounded_time(work):
    began = time.monotonic()
    with pytest.raises(UserError, match="no search goes on in .*`workdir`") as caught:
        work(patience=0.3)
    assert 0.3 <= time.monotonic() - began < 5 and "\n" not in str(caught.value)


def test_a_leader_without_workers_gives_up(lead):
    _, leader = lead(idle_timeout=0.3)
    with pytest.raises(WorkersLostError, match="alive for 0.3 s, 0 of 2 trials done"):
        leader.wait(10)


def test_what_the_leader_refuses_ends_the_search_for_all(lead, work):
    def changed():
        raise UserError("none of 10 trials came to a score")

    _, leader = lead(trials=50, changed=changed)

    def slow(values, folder, check):
        time.sleep(0.1)
        return program.train(values, folder, check)

    with pytest.raises(UserError, match="stopped: none of 10"):
        work(slow)
    with pytest.raises(UserError, match="none of 10"):
        leader.wait()


def test_an_oracle_that_raises_ends_the_search_for_all(lead, work):
    class Raising(program.Oracle):
        def populate_space(self, trial_id):
            raise ValueError("no idea")

    oracle = program.make_oracle()
    oracle.__class__ = Raising
    _, leader = lead()
    with pytest.raises(ValueError, match="no idea"):
        work(oracle=oracle)
    with pytest.raises(UserError, match="oracle failed: ValueError: no idea"):
        leader.wait()


def test_more_trials_extend_a_search(lead, work):
    for trials in (2, 3):
        oracle, leader = lead(trials=trials)
        assert work(oracle=program.make_oracle(trials=trials)) > 0
        leader.wait()
    assert len(oracle.end_order) == 3
