"""Who lives, who has which trial, and states that nobody can overwrite."""

import dataclasses
import json
import math
import re

import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.pulse import Pulse
from tuners.cluster import attempt, bury, pulse_in
from tuners.ledger import MOST_LOSSES, LeaseLostError, Ledger
from tuners.oracles import OBJECTIVE, ORACLES, make
from tuners.states import States

from . import search_program as program


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def join(tmp_path):
    """A further ledger of the search in `tmp_path`, which the first begins."""

    def made(session=None, *, trials=2, **options):
        ledger = Ledger(
            program.make_oracle(trials=trials, **options), tmp_path, session=session
        )
        if not ledger.begun:
            leader = Ledger(program.make_oracle(trials=trials), tmp_path)
            leader.begin(max_trials=trials, worker_timeout=10)
        ledger.refresh()
        return ledger

    return made


def test_of_two_that_publish_the_same_number_one_is_refused(tmp_path):
    one, other = (States(tmp_path / "s", writer=name) for name in "ab")
    assert one.latest() == 0
    assert one.publish(1, {"by": "a"}) and not other.publish(1, {"by": "b"})
    assert other.read() == (1, {"by": "a"})
    for number in range(2, 6):
        assert other.publish(number, {"by": "b"})
    assert not one.publish(2, {"by": "late"})  # though its content is gone
    assert one.read() == (5, {"by": "b"})
    kept = [file for file in (tmp_path / "s").iterdir() if file.stat().st_size]
    assert len(kept) == 2


def test_what_a_killed_writer_left_is_no_way_to_its_state(tmp_path):
    States(tmp_path, writer="lead").publish(1, {"x": 1})
    (tmp_path / "new-lead").hardlink_to(tmp_path / "00000001")  # before it was removed
    again = States(tmp_path, writer="lead")
    assert not again.publish(1, {"x": 2}) and again.read() == (1, {"x": 1})


def test_a_damaged_state_is_named(tmp_path):
    states = States(tmp_path, writer="a")
    states.publish(1, {"x": 1})
    path = tmp_path / "00000001"
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(StaleArtifactError, match=path.name):
        states.read()


def test_a_silent_workers_trial_is_given_away_and_its_result_dropped(
    join, tmp_path, capsys
):
    clock = Clock()
    late, other = join("late-1", trials=1), join("other-1", trials=1)
    pulse = Pulse(pulse_in(tmp_path).folder, clock=clock)
    lost = late.take()
    program.train(lost.values, lost.folder)
    assert other.take() is None and not other.over
    bury(other, pulse)
    clock.now = 11
    bury(other, pulse)
    assert "late is unheard for 10 s" in capsys.readouterr().err
    again = other.take()
    assert (again.trial_id, again.attempt) == (lost.trial_id, 2)
    assert again.values == lost.values
    assert (again.folder / "epochs").exists() and not lost.folder.exists()
    with pytest.raises(LeaseLostError):
        late.check(lost)
    with pytest.raises(LeaseLostError):
        late.end(lost, score=0.9)
    other.end(again, score=0.25)
    late.refresh()
    assert late.over and late.take() is None
    assert late.oracle.trials[lost.trial_id].score == 0.25


def test_a_late_writer_has_no_path_to_the_trial(join, tmp_path):
    late, other = join("late-1", trials=1), join("other-1", trials=1)
    lost = late.take()

    def train(values, folder, check):
        other.release({"late-1"}, loss=1)
        program.train(values, folder)
        again = other.take()
        assert attempt(other, again, program.train)
        folder.mkdir()
        (folder / "results.json").write_text('"late"')
        return 0.9

    assert not attempt(late, lost, train)
    places = [path.name for path in (tmp_path / "trials").glob("*_*")]
    assert places == ["trial_0"]
    told = json.loads((tmp_path / "trials/trial_0/results.json").read_text())
    assert told == program.score(lost.values)


def test_what_goes_wrong_in_a_lost_folder_is_not_the_trials_fault(join):
    late, other = join("late-1"), join("other-1")

    def fail(values, folder, check):
        raise OSError("gone")

    lost = late.take()
    with pytest.raises(OSError, match="gone"):
        attempt(late, lost, fail)
    other.release({"late-1"}, loss=1)
    assert not attempt(late, lost, fail)


@pytest.mark.parametrize("score", [math.inf, -math.inf, math.nan, 1e308, -1e308])
def test_scores_that_are_none_are_failures(score, join):
    ledger = join("a-1")
    lease = ledger.take()
    ledger.end(lease, score=score)
    trial = join().oracle.trials[lease.trial_id]
    assert trial.status == "FAILED" and trial.score is None
    assert str(score) in trial.message


@pytest.mark.parametrize("name", sorted(ORACLES))
@pytest.mark.parametrize("score", [math.inf, 1e308])
def test_without_a_ledger_too(score, name, tmp_path):
    space = program.make_oracle().get_space()
    oracle = make(name, hyperparameters=space, max_trials=2, seed=0)
    oracle._set_project_dir(str(tmp_path), "trials")
    trial = oracle.create_trial("0")
    oracle.update_trial(trial.trial_id, {OBJECTIVE: score})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.trials[trial.trial_id].status == "FAILED"


def test_a_trial_at_which_workers_die_has_failed(join, tmp_path):
    leader = join()
    for number in range(MOST_LOSSES):
        assert join(f"{number}-1", trials=1).take().trial_id == "0"
        leader.release({f"{number}-1"}, loss=1)
    trial = leader.oracle.trials["0"]
    assert trial.status == "FAILED" and "workers died at it" in trial.message
    leader.settle("0")
    written = json.loads((tmp_path / "trials/trial_0/trial.json").read_text())
    assert written["status"] == "FAILED"


def test_a_worker_that_leaves_is_no_loss(join):
    for number in range(MOST_LOSSES + 1):
        ledger = join(f"{number}-1")
        assert ledger.take().trial_id == "0"
        ledger.release({ledger.session}, loss=0)


def test_a_space_without_further_points_ends_the_search(tmp_path):
    class Small(program.Oracle):
        def populate_space(self, trial_id):
            if len(self.trials) == 2:
                return {"status": "STOPPED", "values": None}
            return super().populate_space(trial_id)

    oracles = [program.make_oracle(trials=9) for _ in range(2)]
    oracles[1].__class__ = Small
    leader, worker = (
        Ledger(oracle, tmp_path, session=name)
        for oracle, name in zip(oracles, (None, "a-1"), strict=True)
    )
    leader.begin(max_trials=9, worker_timeout=10)
    while lease := worker.take():
        attempt(worker, lease, program.train)
    leader.refresh()
    assert leader.over and len(leader.oracle.end_order) == 2


def test_a_stopped_search_stops_its_workers(join):
    leader, worker = join(), join("a-1")
    lease = worker.take()
    leader.stop("none of 10 trials came to a score")
    with pytest.raises(UserError, match="stopped: none of 10"):
        worker.end(lease, score=0.5)
    leader.begin(max_trials=2, worker_timeout=10)
    worker.end(lease, score=0.5)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "..", "a/b", ""])
@pytest.mark.parametrize("what", ["trials", "ongoing_trials"])
def test_a_planted_state_leads_to_no_other_folder(what, name, join, tmp_path):
    """Their folders are moved and removed, and the workers' files are."""
    ledger = join("one-1")
    lease = ledger.take()
    number, state = ledger._states.read()
    trials, ongoing = state["trials"], state["oracle"]["ongoing_trials"]
    if what == "trials":
        trials[name] = trials[lease.trial_id]
    else:
        ongoing[name] = lease.trial_id
    assert ledger._states.publish(number + 1, state)
    with pytest.raises(StaleArtifactError, match=re.escape(repr(name))):
        join("two-1")


def test_a_result_of_an_unknown_trial_is_dropped_alone(join, capsys):
    ledger = join("one-1", trials=1)
    lease = ledger.take()
    for stranger in ("7", lease.trial_id):  # unknown, or an attempt that never was
        other = dataclasses.replace(lease, trial_id=stranger, attempt=9)
        with pytest.raises(LeaseLostError):
            ledger.end(other, score=0.9)
        assert not attempt(ledger, other, lambda *_: 0.9)
    assert "result is dropped" in capsys.readouterr().err
    ledger.end(lease, score=0.25)
    assert ledger.over and ledger.oracle.trials[lease.trial_id].score == 0.25


def test_a_sign_of_life_of_an_unknown_worker_takes_nobodys_trial(join, tmp_path):
    ledger, clock = join("one-1", trials=1), Clock()
    lease, pulse = ledger.take(), Pulse(pulse_in(tmp_path).folder, clock=clock)
    pulse.folder.mkdir(parents=True)
    (pulse.folder / "stranger-1").write_text("1")
    bury(ledger, pulse)
    clock.now = 11
    bury(ledger, pulse)
    ledger.check(lease)
    assert not list(pulse.folder.iterdir())
