"""What is said of clusters that are not there, and of workers that do not fit."""

import dataclasses
import pickle
import re
import socket
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError, WorkersLostError
from kerasdistill.recipes.base import Augmentation
from pipelines import scoring
from pipelines.beam import clusters, job, runners, workers
from pipelines.stored.layout import Layout


def refused(capsys, *options: str) -> str:
    """The error line of a `precompute` whose teacher need not even exist."""
    asked = ["precompute", "--teacher", "t.keras", "--dataset", "digits", *options]
    began = time.monotonic()
    assert main(asked) == 2
    assert time.monotonic() - began < 15
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line


@pytest.mark.parametrize(
    "option", ["--job_endpoint=localhost", "--flink_master=http://localhost"]
)
def test_a_service_that_is_not_there_is_one_line(capsys, free_port, option):
    runner = "FlinkRunner" if "flink" in option else "PortableRunner"
    line = refused(capsys, "--runner", runner, f"{option}:{free_port}")
    assert f"nobody answers at {option.replace('=', ' ')}:{free_port}" in line


def test_a_portable_runner_needs_an_endpoint(capsys):
    line = refused(capsys, "--runner", "PortableRunner")
    assert "PortableRunner needs --job_endpoint" in line


@pytest.mark.parametrize("runner", ["DaskRunner", clusters.DASK_RUNNER])
def test_a_dask_scheduler_that_is_not_there_is_one_line(capsys, free_port, runner):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    address = f"tcp://127.0.0.1:{free_port}"
    line = refused(capsys, "--runner", runner, "--dask_client_address", address)
    assert f"nobody answers at --dask_client_address {address}" in line


@pytest.mark.parametrize(
    "options", [["--runner=DaskRunner"], ["--dask_client_address", "tcp://x:1"]]
)
def test_dask_that_is_not_installed_is_one_line(capsys, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "apache_beam.runners.dask.dask_runner", None)
    line = refused(capsys, *options)
    assert line.startswith("error: DaskRunner needs Dask, which is not installed")
    assert "pip install 'kerasdistill[dask]'" in line


def options_for_dask(*more: str):
    pytest.importorskip("distributed", reason="needs the extra [dask]")
    argv = ["--runner=DaskRunner", *more]
    clusters.learn_dask_options(argv)
    return PipelineOptions(argv)


def test_who_is_no_dask_scheduler_is_noticed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"--dask_client_address=127.0.0.1:{mute.getsockname()[1]}"
        options = options_for_dask(address, "--dask_connection_timeout=1")
        with pytest.raises(UserError, match="no Dask scheduler answers at 127.0.0.1"):
            clusters.prepare_dask(options)
    file = tmp_path / "scheduler.json"
    for content in (None, "{", "{}"):
        if content:
            file.write_text(content)
        with pytest.raises(UserError, match="scheduler.json names no scheduler"):
            clusters.prepare_dask(options_for_dask(f"--dask_scheduler_file={file}"))


def test_dask_gets_one_shard_a_task_unless_told_otherwise():
    for more, expected in {
        (): (1, None),
        ("--dask_npartitions=4",): (None, 4),
        ("--dask_partition_size=9",): (9, None),
    }.items():
        options = options_for_dask(*more)
        clusters.prepare_dask(options)
        asked = clusters._dask(options)
        assert (asked.partition_size, asked.npartitions) == expected


def test_the_page_on_runners_names_options_that_beam_knows():
    page = Path(__file__).parents[2] / "docs" / "beam-runners.md"
    named = set(re.findall(r"(--[a-z]+_[a-z_]+)", page.read_text()))
    named -= {"--worker_pool", "--service_port"}  # of Beam's own programs
    assert len(named) > 20
    options_for_dask()
    assert named <= set(runners._beam_parser()._option_string_actions)


def test_workers_are_the_clusters_own(make_set):
    options = ["--runner=PortableRunner", "--job_endpoint=embed"]
    with pytest.raises(UserError, match="workers is 2, but PortableRunner brings"):
        make_set(workers=2, beam_options=options)


class Result:
    """What Beam's Dask runner returns, with a client of no cluster."""

    def __init__(self, *statuses: str) -> None:
        self.client, self.closed = self, False
        self.futures = [types.SimpleNamespace(status=status) for status in statuses]

    def ncores(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self.closed = True


def test_the_end_of_a_dask_job_is_told(capsys):
    distributed = pytest.importorskip("distributed", reason="needs the extra [dask]")
    unpacking = RuntimeError("Error during deserialization of the task graph.")
    unpacking.__cause__ = ImportError("No module named 'pipelines'")
    killed = distributed.scheduler.KilledWorker("task", None, 3)
    for raised, expected, message in [
        (killed, WorkersLostError, "several Dask workers died.*run the same command"),
        (OSError(), WorkersLostError, "scheduler is gone.*run the same command"),
        (ImportError("no pipelines"), UserError, r"import .*\(no pipelines\)"),
        (unpacking, UserError, r"No module named 'pipelines'\); install"),
        (RuntimeError("a bug"), RuntimeError, "^a bug$"),
    ]:
        result = Result("finished")
        with pytest.raises(expected, match=message), clusters.following(result):
            raise raised
        assert result.closed
    with pytest.raises(WorkersLostError, match="scheduler is gone"):
        with clusters.following(Result("finished", "cancelled")):
            pass
    capsys.readouterr()
    with clusters.following(Result("finished")):
        time.sleep(0.1)
    assert "has no workers; waiting for one" in capsys.readouterr().err


@pytest.fixture
def staged(image_data, teacher_path, tmp_path):
    """A job of one pass, before any worker."""
    counts = (len(image_data.train), len(image_data.validation))
    layout = Layout(*counts, passes=1, seed=5, block_views=8, views_per_shard=16)
    output = str(tmp_path / "set")
    views = Augmentation(min_crop=6)
    request = {
        "teachers": [{"weights_digest": "0"}],
        "keep_members": False,
        "store": "replay",
        "logits_dtype": "float32",
        "stored_mean_of": 1,
    }
    return job.stage(output, {0: teacher_path}, image_data, views, request, layout)


def test_copies_in_one_process_share_what_it_loaded(staged, monkeypatch):
    loads, load = [], job.loading.load
    monkeypatch.setattr(
        job.loading, "load", lambda path: loads.append(path) or load(path)
    )
    asked = job.ScoreShards(staged)
    copies = [pickle.loads(pickle.dumps(asked)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda copy: copy.setup(), copies))
    assert len(loads) == 1
    assert len({id(copy._tools) for copy in copies}) == 1
    job.ScoreShards(staged).setup()
    assert len(loads) == 2  # another job: its teachers may be others


def test_a_shard_that_is_there_is_not_made_again(staged):
    worker = job.ScoreShards(staged)
    worker.setup()
    (name,) = worker.process((0, 1, True, ()))
    before = Path(staged.output, name).stat().st_mtime_ns
    assert worker.process((0, 1, True, ())) == [name]
    assert Path(staged.output, name).stat().st_mtime_ns == before


def test_a_worker_that_does_not_see_the_set_says_so(staged, tmp_path):
    (tmp_path / "set").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"worker .* cannot see .*set; `workdir` must"):
        job.ScoreShards(staged).setup()
    assert not (tmp_path / "set").exists()


def test_a_worker_of_other_versions_or_threads_says_so(staged, monkeypatch):
    this = workers.Process.this()
    workers.prepare_process(this)
    older = dataclasses.replace(this, versions=("kerasdistill 0.0", *this.versions[1:]))
    with pytest.raises(UserError, match="the set is asked for with kerasdistill 0.0"):
        workers.prepare_process(older)
    monkeypatch.setattr(scoring, "pinned_to_one_thread", lambda: False)
    workers.prepare_process(this)  # the process that asked may keep its threads
    with pytest.raises(UserError, match="TF_NUM_INTRAOP_THREADS=1"):
        workers.prepare_process(dataclasses.replace(this, pid=this.pid + 1))
    worker = job.ScoreShards(staged)
    worker._asked_by = older
    worker.setup()
    assert worker.process((0, 0, True, ())) == []
    told = Path(staged.failure).read_text()
    assert told.startswith(f"worker {this} has kerasdistill")
