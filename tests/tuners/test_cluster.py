"""A chief and its workers in one process: what each is told, and when it ends."""

import time
from concurrent import futures

import grpc
import keras_tuner
import pytest

from kerasdistill.errors import UserError, WorkersLostError
from tests.clusters import wait_for
from tuners import chief as chief_module
from tuners import cluster

from . import search_program as program
from .conftest import Background

# KerasTuner asks for the current thread in an older way.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"
)
# The lease outlasts the pauses of a busy machine.
SHORT = {"worker_timeout": 1.5, "idle_timeout": 20}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """Workers that were turned away ask again sooner."""
    monkeypatch.setattr("tuners.worker._PAUSE_SECONDS", 0.05)


@pytest.fixture
def search(tmp_path, address):
    """Starts a chief in a thread; more trials, or another oracle, if asked."""
    started = []

    def start(oracle=None, *, trials=2, **options):
        oracle = oracle or program.make_oracle(tmp_path, trials=trials)
        options = {**SHORT, **options}
        started.append(Background(cluster.serve, oracle, address=address, **options))
        return oracle, started[-1]

    yield start
    for chief in started:
        chief.thread.join(15)


@pytest.fixture
def join(tmp_path, address):
    """Connects a worker; one that is told to be `silent` has no heartbeat."""
    clients = []

    def connect(name, *, silent=False, **options):
        oracle = program.make_oracle(tmp_path)
        options = {"patience": 5, **options}
        clients.append(cluster.connect(oracle, address=address, worker=name, **options))
        if silent:
            clients[-1]._rest()
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def finish(client, trial, value=0.5):
    client.update_trial(trial.trial_id, {"score": value})
    trial.status = "COMPLETED"
    client.end_trial(trial)


def finish_all(client) -> list[str]:
    """Trials that the worker ran until it was told to stop."""
    done = []
    while (trial := client.create_trial("any")).status != "STOPPED":
        if trial.status == "RUNNING":
            finish(client, trial)
            done.append(trial.trial_id)
    return done


def test_two_workers_run_every_trial_once(tmp_path, search, address):
    program.hold(tmp_path, 0, 1)  # so that the chief stays until both have come
    oracle, chief = search(trials=program.TRIALS, worker_timeout=60)
    workers = [
        Background(program.work, tmp_path, worker=str(n), address=address)
        for n in (1, 2)
    ]
    wait_for(lambda: len(program.runs(tmp_path, "begin")) == 2)
    program.release(tmp_path)
    for worker in workers:
        worker.wait()
    chief.wait()
    ran = [trial for _, trial in program.runs(tmp_path, "begin")]
    assert sorted(ran) == list(range(program.TRIALS))
    assert len(oracle.end_order) == program.TRIALS
    for trial in oracle.trials.values():
        assert trial.status == "COMPLETED"
        assert trial.score == program.score(trial.hyperparameters.values)
    # Numbers crossed the wire unchanged: one machine proposes the same.
    alone = program.make_oracle(tmp_path / "alone", trials=program.TRIALS)
    for number in range(program.TRIALS):
        values = alone.create_trial(f"tuner{number}").hyperparameters.values
        assert oracle.trials[str(number)].hyperparameters.values == values


def test_a_silent_worker_s_trial_is_given_away_and_its_answer_is_dropped(
    search, join, capsys
):
    oracle, chief = search(trials=1)
    late = join("late", silent=True)
    trial = late.create_trial("any")
    late.update_trial(trial.trial_id, {"score": 0.9})
    other = join("other")
    again = wait_for(lambda: running(other))
    assert again.trial_id == trial.trial_id
    assert again.hyperparameters.values == trial.hyperparameters.values
    assert not again.metrics.exists("score")
    with pytest.raises(chief_module.LeaseLostError):
        late.update_trial(trial.trial_id, {"score": 0.9})
    trial.status = "COMPLETED"
    late.end_trial(trial)
    assert "this worker's answer is dropped" in capsys.readouterr().err
    assert oracle.end_order == []
    finish(other, again, 0.25)
    assert finish_all(other) == [] == finish_all(late)
    chief.wait()
    assert oracle.end_order == [trial.trial_id]
    assert oracle.get_best_trials()[0].score == 0.25


def running(client):
    trial = client.create_trial("any")
    return trial if trial.status == "RUNNING" else None


def test_a_worker_learns_from_its_heartbeat_that_its_trial_is_gone(search, join):
    oracle, chief = search(trials=1)
    slow, other = join("slow"), join("other")
    trial = slow.create_trial("any")
    assert slow.holds(trial.trial_id)
    beat, slow._line.beat = slow._line.beat, silence  # a network that drops all
    wait_for(lambda: running(other))
    assert slow.holds(trial.trial_id)
    slow._line.beat = beat
    wait_for(lambda: not slow.holds(trial.trial_id), seconds=20)
    slow.end_trial(trial)  # without a question to anybody
    assert oracle.end_order == []
    finish(other, other.create_trial("any"))
    assert finish_all(other) == [] == finish_all(slow)
    chief.wait()


def silence(**_):
    raise grpc.RpcError


def test_a_worker_stays_at_hand_while_another_runs_the_last_trial(search, join):
    oracle, chief = search(trials=2)
    first, second = join("1"), join("2", silent=True)
    last = second.create_trial("any")
    finish(first, first.create_trial("any"))
    assert first.create_trial("any").status == "IDLE"
    assert finish_all(first) == [last.trial_id]  # when the other's lease has run out
    chief.wait()
    assert sorted(oracle.end_order) == ["0", "1"]


def test_a_worker_that_leaves_gives_its_trial_back_at_once(search, join):
    oracle, chief = search(trials=1, worker_timeout=60)
    first, second = join("1"), join("2")
    trial = first.create_trial("any")
    first.close()
    assert running(second).trial_id == trial.trial_id
    finish(second, second.create_trial("any"))
    assert finish_all(second) == []
    chief.wait(10)


def test_a_trial_at_which_workers_die_is_given_up(search, join):
    oracle, chief = search(trials=1, worker_timeout=0.5)
    for number in range(chief_module.MOST_LOSSES):
        victim = join(str(number), silent=True)
        wait_for(lambda client=victim: running(client))
    survivor = join("survivor")
    assert finish_all(survivor) == []
    chief.wait()
    trial = oracle.trials["0"]
    assert trial.status == "FAILED" and "workers died at it" in trial.message


def test_a_name_belongs_to_one_process(search, join):
    oracle, chief = search(trials=1)
    first = join("1")
    with pytest.raises(UserError, match=r"worker 1 is at work .* another --worker"):
        join("1")
    first._rest()  # killed; its name is free when its lease has run out
    assert finish_all(join("1")) == ["0"]
    chief.wait()


def test_a_trial_whose_code_raises_everywhere_is_given_up(search, join):
    oracle, chief = search(trials=1, worker_timeout=60)
    survivor = join("survivor")  # for whom the chief stays
    for name in range(chief_module.MOST_LOSSES):
        with pytest.raises(UserError, match="no memory"), join(name) as client:
            client.create_trial("any")
            raise UserError("no memory for it")
    assert finish_all(survivor) == []
    chief.wait()
    assert oracle.trials["0"].status == "FAILED"


def test_no_chief_is_said_in_bounded_time(join, address, patience=0.5):
    began = time.monotonic()
    with pytest.raises(UserError, match=f"no chief answers at {address}") as caught:
        join("1", patience=patience)
    assert patience <= time.monotonic() - began < patience + 2
    assert "\n" not in str(caught.value)


def test_a_chief_that_goes_away_is_said_by_a_tuner_too(tmp_path, search, address):
    oracle, chief = search(idle_timeout=1, worker_timeout=0.5)

    class Slow(program.Tuner):
        def run_trial(self, *_, **__):
            self.oracle._rest()  # silent, so that the chief gives up
            chief.thread.join(10)
            return {"score": 0.5}

    mine = program.make_oracle(tmp_path)
    client = cluster.connect(mine, address=address, worker=1, patience=0.5)
    tuner = Slow(oracle=client, directory=str(tmp_path), project_name="search")
    with client, pytest.raises(UserError, match="no chief answers"):
        tuner.search()
    assert isinstance(chief.raised, WorkersLostError)
    assert oracle.end_order == [] and oracle._retry_queue == ["0"]


def test_a_chief_without_workers_gives_up(search):
    began = time.monotonic()
    _, chief = search(idle_timeout=0.5)
    with pytest.raises(WorkersLostError, match="no worker was alive for 0.5 s, 0 of 2"):
        chief.wait()
    assert time.monotonic() - began < 5


class Raising(program.Oracle):
    """Proposes one trial, then raises."""

    def populate_space(self, trial_id):
        if self.trials:
            raise ValueError("no idea")
        return super().populate_space(trial_id)


def test_an_oracle_that_raises_ends_the_search_for_all(tmp_path, search, join):
    oracle = program.make_oracle(tmp_path, trials=3)
    oracle.__class__ = Raising
    _, chief = search(oracle)
    first, second = join("1"), join("2")
    trial = first.create_trial("any")
    for _ in range(2):  # the second meets no lock of the first's
        with pytest.raises(RuntimeError, match="oracle failed: ValueError: no idea"):
            second.create_trial("any")
    # Work that was under way is kept; KerasTuner's lock doesn't stand in its way.
    Background(finish, first, trial).wait(10)
    with pytest.raises(RuntimeError, match="no idea"):
        first.create_trial("any")
    with pytest.raises(ValueError, match="no idea"):
        chief.wait()
    assert oracle.end_order == [trial.trial_id]


def test_too_many_failures_end_the_search_for_all(tmp_path, search, join):
    oracle = program.make_oracle(tmp_path, trials=9, max_consecutive_failed_trials=2)
    search(oracle)
    client, other = join("1"), join("2")
    running_on = other.create_trial("any")
    trial = client.create_trial("any")
    trial.status, trial.message = "FAILED", "lost\nits way"
    client.end_trial(trial)
    assert oracle.trials[trial.trial_id].message == "lost\nits way"
    trial = client.create_trial("any")
    trial.status = "FAILED"
    with pytest.raises(RuntimeError, match="consecutive failures"):
        client.end_trial(trial)
    finish(other, running_on)
    with pytest.raises(RuntimeError, match="consecutive failures"):
        other.create_trial("any")
    assert oracle.trials[running_on.trial_id].status == "COMPLETED"


def test_metrics_that_the_oracle_refuses_spoil_one_trial(search, join):
    oracle, chief = search(trials=1)
    client = join("1")
    trial = client.create_trial("any")
    with pytest.raises(RuntimeError, match="Objective value missing") as caught:
        client.update_trial(trial.trial_id, {"other": 1.0})
    assert not isinstance(caught.value, keras_tuner.errors.FatalError)
    finish(client, trial)
    assert finish_all(client) == []
    chief.wait()


def test_another_search_is_refused_by_name(search, join):
    ours = {"dataset": "cifar10", "budget": 1_000_000}
    _, chief = search(request=ours, trials=1)
    with pytest.raises(UserError, match="searches with another budget, seed; give"):
        join("1", request={"dataset": "cifar10", "budget": 2, "seed": 1})
    assert finish_all(join("1", request=ours)) == ["0"]
    chief.wait()


def test_storage_that_is_not_shared_is_said(search, join, tmp_path, monkeypatch):
    monkeypatch.setattr("tuners.worker._SHARED_SECONDS", 0.1)
    search(trials=1)
    client = join("1")
    elsewhere = tmp_path / "elsewhere"
    tuner = program.Tuner(
        oracle=client, directory=str(elsewhere), project_name="search"
    )
    with pytest.raises(UserError, match="storage that they share"):
        tuner.search()
    client.close()
    assert finish_all(join("2")) == ["0"]


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":51", "host:x", "host:99999", "http://h:1", "h:1/x"]
)
def test_addresses_that_are_none(text, tmp_path):
    oracle = program.make_oracle(tmp_path)
    for ask in (
        lambda: cluster.serve(oracle, address=text),
        lambda: cluster.connect(oracle, address=text, worker=1),
    ):
        with pytest.raises(UserError, match="HOST:PORT"):
            ask()


def test_no_proxy_comes_between(search, join, monkeypatch):
    for name in ("http_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    _, chief = search(trials=1)
    assert finish_all(join("1", patience=2)) == ["0"]
    chief.wait()


def test_an_address_in_use_is_refused(search, join, address, tmp_path):
    search(trials=1)
    client = join("1")
    second = program.make_oracle(tmp_path / "second")
    with pytest.raises(UserError, match=f"{address} cannot be listened at"):
        cluster.serve(second, address=address)
    assert finish_all(client) == ["0"]


def test_another_kind_of_server_is_no_chief(join, address):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_insecure_port(address)
    server.start()
    with pytest.raises(UserError, match="is no chief of this program"):
        join("1")
    server.stop(0).wait()
