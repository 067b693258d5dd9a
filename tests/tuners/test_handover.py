"""Processes that are killed or stopped at each of their changes of the disk."""

import itertools
import json
import shutil
import sys
import threading

import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from tuners.cluster import attempt
from tuners.ledger import Ledger

from . import search_program as program

TRIALS = 3
CHANGES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.truncate"}


class KilledError(BaseException):
    """Stands for a SIGKILL: from then on the thread changes nothing."""


class Process:
    """A call in a thread that is killed or stopped at its n-th change of the disk."""

    by_thread: dict[int, "Process"] = {}  # noqa: RUF012

    def __init__(self, call, *, at: int, how: str) -> None:
        self.left, self.how = at, how
        self.reached, self.resumed = threading.Event(), threading.Event()
        self.raised, self.ended = None, False

        def run():
            self.by_thread[threading.get_ident()] = self
            try:
                call()
            except KilledError:
                pass
            except BaseException as error:
                self.raised = error
            finally:
                del self.by_thread[threading.get_ident()]
                self.ended = not self.reached.is_set()
                self.reached.set()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert self.reached.wait(30)

    def change(self) -> None:
        self.left -= 1
        if self.left > 0:
            return
        if self.how == "kill":
            raise KilledError
        if self.left == 0:
            self.reached.set()
            self.resumed.wait()

    def resume(self) -> None:
        self.resumed.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.raised is not None:
            raise self.raised


def audit(event: str, arguments: tuple) -> None:
    if CHANGES is None:  # the interpreter ends, and its modules are gone
        return
    if event in CHANGES and (process := Process.by_thread.get(threading.get_ident())):
        if event != "open" or set(str(arguments[1])) & set("wax+"):
            process.change()


sys.addaudithook(audit)


def join(folder, session=None):
    return Ledger(program.make_oracle(trials=TRIALS), folder, session=session)


def begin(folder) -> Ledger:
    leader = join(folder)
    leader.begin(max_trials=TRIALS, worker_timeout=10)
    return leader


def run_all(ledger) -> None:
    while lease := ledger.take():
        attempt(ledger, lease, program.train)


def finish(folder) -> Ledger:
    """Another worker takes all that is left, and the leader clears up."""
    other, leader = join(folder, "other"), join(folder)
    other.refresh()
    other.release({"victim"}, loss=1)
    run_all(other)
    leader.refresh()
    assert leader.over
    for trial_id in leader.oracle.end_order:
        leader.settle(trial_id)
    return leader


def everything(folder) -> dict:
    """What the search's trials have come to, on disk and in the shared state."""
    leader = join(folder)
    leader.refresh()
    trials = {name: t.get_state() for name, t in leader.oracle.trials.items()}
    files = {
        str(path.relative_to(folder)): path.read_text()
        for path in (folder / "trials").glob("*_*/*")
        if path.name != "trial.json"
    }
    return {"trials": trials, "order": leader.oracle.end_order, "files": files}


def check(folder) -> dict:
    found = everything(folder)
    assert sorted(found["order"]) == [str(number) for number in range(TRIALS)]
    assert len(found["files"]) == 2 * TRIALS
    for name, values in enumerate(program.proposed(TRIALS)):
        trial = found["trials"][str(name)]
        assert trial["hyperparameters"]["values"] == values
        assert trial["score"] == program.score(values)
        results = found["files"][f"trials/trial_{name}/results.json"]
        assert json.loads(results) == trial["score"]
    return found


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_worker_may_end_or_sleep_at_any_change_of_the_disk(how, stride, tmp_path):
    for at in itertools.count(1, stride):
        folder = tmp_path / str(at)
        begin(folder)
        worker = join(folder, "victim")
        victim = Process(lambda worker=worker: run_all(worker), at=at, how=how)
        if victim.ended and how == "stop":
            break
        finish(folder)
        found = check(folder)
        victim.resume()
        assert check(folder) == found
        if victim.ended and victim.left > 0:
            break
    assert at > 30


def test_a_second_loss_finds_the_first_ones_checkpoint(tmp_path):
    begin(tmp_path)
    first, second, third = (join(tmp_path, name) for name in "abc")
    lease = first.take()
    program.train(lease.values, lease.folder)
    second.release({"a"}, loss=1)
    process = Process(second.take, at=2, how="stop")  # with the lease, if at all
    for at in range(3, 12):
        state = join(tmp_path)
        state.refresh()
        if "b" in state.oracle.ongoing_trials:
            break
        process.resume()
        state.release({"b"}, loss=0)
        process = Process(second.take, at=at, how="stop")
    third.release({"b"}, loss=0)
    again = third.take()
    assert again.attempt > lease.attempt and (again.folder / "epochs").exists()
    process.resume()
    assert (again.folder / "epochs").exists()
    third.end(again, score=0.5)


def shared(folder) -> None:
    """A search that workers have begun: one trial ended, one runs, one is new."""
    begin(folder)
    worker = join(folder, "victim")
    attempt(worker, worker.take(), program.train)
    lease = worker.take()
    (lease.folder).mkdir()
    (lease.folder / "epochs").write_text("0\n")


def alone(folder) -> program.Oracle:
    """One process takes it over, as `tuners.search.Tuner` does."""
    oracle = program.make_oracle(trials=TRIALS)
    Ledger(oracle, folder).close()
    oracle.reload()
    return oracle


def test_one_process_alone_may_be_killed_while_it_takes_over(tmp_path):
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        shared(folder)
        late = join(folder, "victim")
        late.refresh()
        killed = Process(lambda folder=folder: alone(folder), at=at, how="kill")
        oracle = alone(folder)
        assert oracle.end_order == ["0"] and oracle._retry_queue == ["1"]
        assert (folder / "trials/trial_1/epochs").read_text() == "0\n"
        with pytest.raises(UserError, match="alone"):
            late.take()
        if killed.left > 0:
            break
    assert at > 5


@pytest.mark.parametrize("before", [None, "alone"])
def test_a_leader_may_be_killed_while_it_begins(before, tmp_path):
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        if before is not None:
            shared(folder)
            alone(folder)
        killed = Process(lambda folder=folder: begin(folder), at=at, how="kill")
        if before is not None and at % 2:
            assert alone(folder)._retry_queue == ["1"]
            assert (folder / "trials/trial_1/epochs").read_text() == "0\n"
        begin(folder)
        finish(folder)
        check(folder)
        if killed.left > 0:
            break
    assert at > 8


def test_shared_and_alone_and_shared_again(tmp_path):
    shared(tmp_path)
    oracle = alone(tmp_path)
    trial = oracle.create_trial("0")
    program.train(trial.hyperparameters.values, tmp_path / "trials/trial_1")
    value = program.score(trial.hyperparameters.values)
    oracle.update_trial(trial.trial_id, {"score": value})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert alone(tmp_path).end_order == ["0", "1"]
    begin(tmp_path)
    finish(tmp_path)
    check(tmp_path)


@pytest.mark.parametrize("name", ["oracle.json", "trial_0/trial.json"])
def test_half_a_file_is_named(name, tmp_path):
    oracle = program.make_oracle(trials=TRIALS)
    oracle._set_project_dir(str(tmp_path), "trials")
    oracle.create_trial("1")
    path = tmp_path / "trials" / name
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StaleArtifactError, match=f"{name} is damaged"):
        begin(tmp_path)


@pytest.mark.parametrize("name", ["oracle.json", "trial_0/trial.json"])
@pytest.mark.parametrize("place", ["a dimension", "a condition", "everything"])
@pytest.mark.parametrize(
    "planted",
    [
        {"class_name": "system", "module": "os", "config": {"command": "exit 3"}},
        {"class_name": "Popen", "module": "subprocess", "config": {"args": ["true"]}},
        {"class_name": "__lambda__", "config": {"value": "4wAAAAA="}},
        {"class_name": "Lambda", "module": "keras.layers", "config": {}},
        "../../outside",
    ],
    ids=["os", "subprocess", "lambda", "layer", "text"],
)
def test_what_a_stranger_planted_runs_nothing(planted, place, name, tmp_path):
    """KerasTuner makes objects from these files, of its own classes alone."""
    oracle = program.make_oracle(trials=TRIALS)
    oracle._set_project_dir(str(tmp_path), "trials")
    oracle.create_trial("1")
    path = tmp_path / "trials" / name
    value = json.loads(path.read_text())
    del value["checksum"]
    space = value["hyperparameters"]["space"]
    if place == "a condition":
        space[0]["config"]["conditions"] = [planted]
    elif place == "a dimension":
        space[0] = planted
    else:
        value = planted
    path.write_text(json.dumps(value))
    with pytest.raises(StaleArtifactError, match=f"{name} is damaged"):
        begin(tmp_path)


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", ".."])
def test_a_planted_trial_lies_in_no_other_folder(name, tmp_path):
    oracle = program.make_oracle(trials=TRIALS)
    oracle._set_project_dir(str(tmp_path), "trials")
    oracle.create_trial("1")
    path = tmp_path / "trials" / "oracle.json"
    value = json.loads(path.read_text())
    del value["checksum"]
    value["start_order"] = [name]
    path.write_text(json.dumps(value))
    with pytest.raises(StaleArtifactError, match=name):
        begin(tmp_path)


def test_a_folder_that_is_removed_is_no_endless_loop(tmp_path):
    begin(tmp_path / "a")
    worker = join(tmp_path / "a", "victim")
    lease = worker.take()
    shutil.rmtree(tmp_path / "a")
    assert attempt(worker, lease, lambda *_: 0.5)
