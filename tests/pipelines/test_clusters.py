"""The same sets from runners that others run: Dask, Beam's local job service."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import keras
import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError, WorkersLostError
from pipelines import checking
from tests.clusters import ROOT, DaskCluster, Programs, wait_for

from .conftest import build_teacher


@pytest.fixture
def programs(tmp_path_factory):
    started = Programs(tmp_path_factory.mktemp("programs"))
    yield started
    started.stop()


@pytest.fixture
def job_service(programs) -> list[str]:
    """Beam's options for a local job service."""
    file = programs.folder / "port"
    service = "apache_beam.runners.portability.local_job_service_main"
    staging = programs.folder / "staging"
    programs.start(service, "--port_file", file, "--staging_dir", staging)
    wait_for(file.exists)
    return ["--runner=PortableRunner", f"--job_endpoint=localhost:{file.read_text()}"]


@pytest.fixture
def dask_cluster(programs):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    return DaskCluster(programs)


def writers(folder) -> dict[str, int]:
    """How many shards each process wrote: host:pid -> count."""
    counts: dict[str, int] = {}
    for file in Path(folder, "sidecars").glob("*.json"):
        worker = json.loads(file.read_text())["worker"]
        counts[worker] = counts.get(worker, 0) + 1
    return counts


def pids(folder) -> set[int]:
    return {int(worker.rpartition(":")[2]) for worker in writers(folder)}


def count_loads() -> None:
    """In a worker process: counts the teachers it loads from here on."""
    from kerasdistill.models import loading

    load, loading.times = loading.load, 0

    def counting(path):
        loading.times += 1
        return load(path)

    loading.load = counting


def told_loads() -> int:
    from kerasdistill.models import loading

    return loading.times


@pytest.mark.slow
def test_dask_workers_give_the_same_content(make_set, dask_cluster):
    for store in ("images", "replay"):
        asked = {"store": store, "passes": 6}
        here = make_set(f"here {store}", **asked)
        there = make_set(f"there {store}", beam_options=dask_cluster.options, **asked)
        assert there.content_digest == here.content_digest
        assert there.shards_done == 19
        assert pids(there.distillation_set) == {w.pid for w in dask_cluster.workers}


@pytest.mark.slow
def test_a_dask_worker_loads_the_teachers_once_for_all_its_threads(make_set, programs):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    import cloudpickle

    # Workers do not find this module by its name.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    cluster = DaskCluster(programs, threads=3)
    cluster.run(count_loads)
    here = make_set("here", store="replay", passes=6)
    there = make_set("there", store="replay", passes=6, beam_options=cluster.options)
    assert there.content_digest == here.content_digest
    assert cluster.run(told_loads) == [1, 1]


class Background:
    """A call in a thread: what it returned or raised."""

    def __init__(self, function, **arguments) -> None:
        self.returned = self.raised = None

        def call():
            try:
                self.returned = function(**arguments)
            except Exception as error:
                self.raised = error

        self.thread = threading.Thread(target=call)
        self.thread.start()

    def wait(self, seconds: float = 120) -> None:
        self.thread.join(seconds)
        assert not self.thread.is_alive()


@pytest.mark.slow
def test_a_killed_dask_worker_costs_its_shard_and_nothing_else(
    make_set, dask_cluster, tmp_path
):
    asked = {"passes": 100, "store": "replay"}
    victim, other = dask_cluster.workers
    making = Background(
        make_set, name="there", beam_options=dask_cluster.options, **asked
    )
    wait_for(lambda: pids(tmp_path / "there") >= {victim.pid, other.pid})
    os.kill(victim.pid, signal.SIGKILL)
    making.wait()
    assert making.raised is None
    counts = writers(tmp_path / "there")
    assert len(counts) == 2 and sum(counts.values()) == 301
    here = make_set("here", **asked)
    assert making.returned.content_digest == here.content_digest


@pytest.mark.slow
def test_a_killed_dask_scheduler_fails_the_job_and_what_is_done_stays(
    make_set, dask_cluster, tmp_path
):
    asked = {"passes": 100, "store": "replay"}
    making = Background(
        make_set, name="set", beam_options=dask_cluster.options, **asked
    )
    wait_for(lambda: len(pids(tmp_path / "set")) == 2)
    os.kill(dask_cluster.scheduler.pid, signal.SIGKILL)
    making.wait()
    assert isinstance(making.raised, WorkersLostError), making.raised
    assert "the Dask scheduler is gone" in str(making.raised)
    again = make_set("set", **asked)
    assert 2 <= again.shards_skipped < 301
    assert again.content_digest == make_set("here", **asked).content_digest


@pytest.mark.slow
def test_what_a_dask_worker_cannot_do_is_one_line(
    make_set, dask_cluster, tmp_path, monkeypatch
):
    keras.utils.set_random_seed(3)
    teacher = build_teacher()
    bias = teacher.layers[-1].bias
    bias.assign(keras.ops.full_like(bias, float("inf")))
    teacher.save(tmp_path / "infinite.keras")
    monkeypatch.setattr(checking, "check_teacher", lambda *_, **__: None)
    asked = {"teacher_paths": [tmp_path / "infinite.keras"]}
    with pytest.raises(UserError, match=r"^shard .*: the teacher gave NaN or inf"):
        make_set(beam_options=dask_cluster.options, **asked)


@pytest.mark.slow
def test_the_command_line_is_the_same_on_dask(dask_cluster, tmp_path, capsys):
    (tmp_path / "teacher").mkdir()
    keras.utils.set_random_seed(3)
    build_teacher(classes=10, side=32).save(tmp_path / "teacher" / "model.keras")
    asked = ["precompute", "--teacher", str(tmp_path / "teacher" / "model.keras")]
    asked += ["--dataset", "digits", "--passes", "2", "--store", "replay", "--force"]
    asked += ["--json", "--workdir"]
    assert main([*asked, str(tmp_path / "here")]) == 0
    here = json.loads(capsys.readouterr().out)
    command = [sys.executable, "-m", "kerasdistill.cli", *asked, tmp_path / "there"]
    command += ["--runner", "DaskRunner", "--dask_client_address", dask_cluster.address]
    there = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["content_digest"] == here["content_digest"]
    lines = [row for row in there.stderr.splitlines() if row.startswith("precompute:")]
    assert lines[0] == "precompute: 0 of 3 shards"
    assert lines[-1] == "precompute: 3 of 3 shards, 0:00:00 left"


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["LOOPBACK", "EXTERNAL", "SUBPROCESS_SDK"])
def test_the_local_job_service_gives_the_same_content(
    make_set, job_service, environment, programs, free_port
):
    options = [*job_service, f"--environment_type={environment}"]
    if environment == "EXTERNAL":
        pool = "apache_beam.runners.worker.worker_pool_main"
        programs.start(pool, "--service_port", free_port)
        options.append(f"--environment_config=localhost:{free_port}")
        wait_for(lambda: listens(free_port))
    for store in ("images", "replay"):
        here = make_set(f"here {store}", store=store)
        there = make_set(f"there {store}", store=store, beam_options=options)
        assert there.content_digest == here.content_digest
        in_this_process = pids(there.distillation_set) == {os.getpid()}
        assert in_this_process == (environment == "LOOPBACK")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("localhost", port), timeout=1).close()
        return True
    return False
