"""What follows runs: told all of them once, whatever happens, and harmless."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from kerasdistill.cli import arguments
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.experiments import teacher
from kerasdistill.recipes import urban2017
from kerasdistill.running import steps, training
from kerasdistill.running.steps import Step
from kerasdistill.runs import RunDirectory
from kerasdistill.training import tracker_callbacks, trackers
from kerasdistill.training.trackers import TRACKERS, Tracker, tracking

from . import search_program

ROOT = Path(__file__).resolve().parents[2]


class Fake:
    """A tracker that lives in this process; `told` is all that it hears."""

    def __init__(self, *, failing=""):
        self.told, self.failing, self.runs = [], failing, []

    def __call__(self, tracked):
        self._hear("begin", tracked)
        if (known := tracked.tracker_id) not in self.runs:
            known = f"run {len(self.runs)}"
            self.runs.append(known)
        return FakeCallback(self, known)

    def _hear(self, what, value):
        if what == self.failing:
            raise OSError(28, "the tracker's disk is full")
        self.told.append((what, value))

    def heard(self, what):
        return [value for each, value in self.told if each == what]


class FakeCallback:
    def __init__(self, tracker, tracker_id):
        self._hear, self.tracker_id = tracker._hear, tracker_id

    def on_epoch_end(self, epoch, logs):
        self._hear("epoch", {"number": epoch + 1, **logs})

    def on_train_end(self, logs=None):
        self._hear("end", logs)


def small(**changes):
    recipe = urban2017.teacher_of(filters=(2, 3, 4), dense=5)
    augmentation = replace(recipe.augmentation, min_crop=6)
    return search_program.finish(replace(recipe, augmentation=augmentation), **changes)


def trained(data, workdir, tracker=None, **changes):
    with tracking(tracker):
        return teacher.run(small(**changes), data=data, workdir=workdir)


ROWS = [{"epoch": 1, "loss": 2.0, "teacher": None}, {"epoch": 2, "loss": 1.0}]


def made_up(workdir, tracker, *, stopped=False, checks=False):
    """A run whose work takes no time; it may be stopped after its last epoch."""

    def place(before):
        return RunDirectory.open(workdir, "precompute", {"passes": 2})

    def work(run, before):
        for done in range(len(ROWS)):
            trackers.progress(run.path, ROWS[: done + 1])
        trackers.progress(run.path / "trial", [*ROWS, *ROWS])
        if stopped:
            raise Stopped
        return {"views": 3, "model": str(run.path / "recipe.json"), "note": "a/b"}

    story = [Step("set", place, work, checks=checks)]
    with tracking(tracker):
        return steps.run(story, workdir=workdir).results["set"]


class Stopped(Exception):
    """As an interruption would."""


@pytest.mark.slow
def test_a_training_is_told_whole_and_once(image_data, tmp_path):
    fake = Fake()
    results = trained(image_data, tmp_path, fake)
    (tracked,) = fake.heard("begin")
    assert tracked.name == "teacher 2-3-4 s0" and tracked.tracker_id is None
    assert tracked.directory.is_relative_to(tmp_path)
    assert tracked.parameters["training.batch_size"] == 16
    assert tracked.parameters["architecture.filters"] == "[2, 3, 4]"
    assert tracked.parameters["dataset.name"] == "shapes"
    epochs = fake.heard("epoch")
    assert [row["number"] for row in epochs] == [1, 2]
    assert {"loss", "val_accuracy", "learning_rate"} <= epochs[0].keys()
    (told,) = fake.heard("end")
    assert told["test_accuracy"] == results["test_accuracy"]
    assert told["model"] == results["model"]
    # A finished run has nothing to say; it is the same one without a tracker.
    assert trained(image_data, tmp_path, fake) == results
    assert trained(image_data, tmp_path) == results
    assert len(fake.told) == 4


def test_a_keras_callback_of_ones_own_follows_runs(tmp_path):
    seen = []
    own = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs)),
        on_train_end=lambda logs: seen.append(logs["views"]),
    )
    made_up(tmp_path, lambda tracked: own)
    assert seen == [(0, {"loss": 2.0}), (1, {"loss": 1.0}), 3]


def test_all_that_makes_runs_takes_a_tracker():
    others = {"verify"}
    assert set(arguments.TRACKED) == set(arguments.PLANNED) - others


@pytest.mark.parametrize("failing", ["begin", "epoch", "end"])
def test_a_tracker_that_fails_is_one_line(failing, tmp_path, capsys):
    assert made_up(tmp_path, Fake(failing=failing))["views"] == 3
    said = capsys.readouterr().err.splitlines()
    (warning,) = [line for line in said if "warning" in line]
    assert "disk is full" in warning


@pytest.mark.parametrize("first", ["alone", "followed", "elsewhere"])
def test_a_run_that_goes_on_is_told_whole(first, tmp_path):
    fake, before = Fake(), None if first == "alone" else Fake()
    if first == "followed":
        before = fake
    with pytest.raises(Stopped):
        made_up(tmp_path, before, stopped=True)
    if before is not None:
        assert before.heard("end") == [None]
    if first == "elsewhere":  # whose server knows nothing of that run
        fake.runs.append("of somebody")
    made_up(tmp_path, fake)
    assert [row["number"] for row in fake.heard("epoch")] == [1, 2]
    known = [tracked.tracker_id for tracked in fake.heard("begin")]
    assert (
        known
        == {
            "alone": [None],
            "followed": [None, "run 0"],
            "elsewhere": ["run 0"],
        }[first]
    )
    assert fake.heard("end")[-1]["views"] == 3


def test_what_is_only_looked_at_again_tells_nothing(tmp_path):
    fake = Fake()
    for _ in range(2):
        made_up(tmp_path, fake, checks=True)
    (tracked,), (results,) = fake.heard("begin"), fake.heard("end")
    assert tracked.name == tracked.directory.name and results["views"] == 3
    assert tracked.parameters == {"passes": 2}


def test_results_are_numbers_and_places(tmp_path):
    results = made_up(tmp_path, None)
    found = {**results, "right": True, "worst": float("nan"), "none": None}
    assert tracker_callbacks.final(found) == {"final/views": 3.0}
    assert tracker_callbacks.places(found) == {"model": results["model"]}


@pytest.mark.usefixtures("pretended", "uncollected")
def test_a_search_is_one_run_of_its_tracker(image_data, tmp_path):
    fake = Fake()
    with tracking(fake):
        found = search_program.run(image_data, tmp_path, max_trials=2)
        search_program.run(image_data, tmp_path, max_trials=3)
    rows = fake.heard("epoch")
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert rows[1]["best_val_accuracy"] == found["best"]
    assert any(name.startswith("searched/") for name in rows[0])
    assert [each.tracker_id for each in fake.heard("begin")] == [None, "run 0"]


def test_an_unknown_tracker_is_refused():
    with pytest.raises(UserError, match="neptune"), tracking("neptune"):
        pass


def test_an_absent_package_is_one_line_before_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(TRACKERS, "mlflow", Tracker("no_such_package", Fake()))
    line = ["teacher", "--dataset", "digits", "--tracker", "mlflow", "--workdir"]
    assert main([*line, str(tmp_path / "runs")]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "no_such_package" in error and "kerasdistill[trackers]" in error
    assert not (tmp_path / "runs").exists()


def test_workers_of_a_search_open_none():
    line = "teacher --trials 3 --chief a:1 --worker w --tracker mlflow"
    with pytest.raises(UserError, match="tracker"):
        arguments.parse(line.split())


def installed(name):
    absent = importlib.util.find_spec(TRACKERS[name].package) is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed: [trackers]")


@pytest.fixture
def stopped_once(image_data, tmp_path, monkeypatch):
    """The function that trains, with a tracker, in two processes' worth of calls."""

    def run(name):
        publish = training.publish
        with monkeypatch.context() as patch:
            patch.setattr(training, "publish", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                trained(image_data, tmp_path / "runs", name)
        assert training.publish is publish
        return trained(image_data, tmp_path / "runs", name)

    return run


@pytest.mark.slow
@installed("mlflow")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("store", ["file", "database"])
def test_mlflow(store, stopped_once, tmp_path, monkeypatch):
    uri = {
        "file": f"file://{tmp_path}/mlruns",
        "database": f"sqlite:///{tmp_path}/mlflow.db",
    }[store]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    results = stopped_once("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("kerasdistill")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "teacher 2-3-4 s0" and run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "2"
    assert run.data.metrics["final/test_accuracy"] == results["test_accuracy"]
    assert run.data.tags["model"].endswith("model.keras")
    curve = client.get_metric_history(run.info.run_id, "val_accuracy")
    assert [point.step for point in curve] == [1, 2]


@pytest.mark.slow
@installed("mlflow")
@pytest.mark.filterwarnings("default")
def test_mlflow_whose_server_is_away(image_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert trained(image_data, tmp_path, "mlflow")["epochs"] == 2
    assert capsys.readouterr().err.count("warning: mlflow failed") == 1


@pytest.mark.slow
@installed("wandb")
@pytest.mark.filterwarnings("default")
def test_wandb_offline(stopped_once, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    results = stopped_once("wandb")
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    (tracker_id,) = {each.name.rpartition("-")[2] for each in folders}
    (notes,) = (tmp_path / "runs").glob(f"*/{trackers.NOTES}")
    kept = json.loads(notes.read_text())["wandb"]
    assert kept == {"tracker_id": tracker_id, "epochs": 2}
    content = b"".join(
        file.read_bytes() for file in (tmp_path / "wandb").rglob("*.wandb")
    )
    for text in ("teacher 2-3-4 s0", "val_accuracy", "final/test_accuracy"):
        assert text.encode() in content
    assert results["epochs"] == 2


@pytest.mark.slow
@installed("wandb")
def test_wandb_without_a_key_asks_nobody(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        environment.pop(name, None)
    line = [sys.executable, "-m", "kerasdistill.cli", "teacher", "--tracker", "wandb"]
    how = {"env": environment, "cwd": tmp_path, "timeout": 120, "text": True}
    done = subprocess.run(line, capture_output=True, check=False, **how)
    assert done.returncode == 2 and "wandb login" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
