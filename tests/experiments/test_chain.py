"""The whole chain with tiny networks: what it makes, and that nothing is redone."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kerasdistill import runs
from kerasdistill.budget import Budget
from kerasdistill.experiments import chain, teacher
from kerasdistill.exports import saved_model as export
from kerasdistill.recipes import urban2017
from kerasdistill.running import timing
from kerasdistill.running.steps import OnlyPlanned
from kerasdistill.training import trackers
from kerasdistill.training.loop import Epochs
from pipelines import distillation_set
from pipelines import precompute as job
from pipelines.beam import probe

BEAM = ["--direct_running_mode=in_memory"]


def short(recipe, **changes):
    settings = {"schedule": "cosine", "epochs": 2, "batch_size": 16, **changes}
    return replace(recipe, training=replace(recipe.training, **settings))


@pytest.fixture
def small_chain(image_data):
    teacher = urban2017.teacher_of(filters=(3, 4, 5), dense=6)
    augmentation = replace(teacher.augmentation, min_crop=6)
    teacher = short(replace(teacher, augmentation=augmentation))
    student = urban2017.student(
        budget=Budget(5_000),
        convs=2,
        kernel=3,
        image_shape=image_data.image_shape,
        num_classes=image_data.num_classes,
    )
    return chain.Chain(
        teachers=(teacher, short(teacher, seed=1)),
        teacher_paths=(),
        student=short(replace(student, augmentation=augmentation)),
        passes=2,
    )


@pytest.fixture
def in_this_process(monkeypatch):
    """Worker processes take seconds to start; the job is the same in this one.

    So do those that measure a worker: they are said to score 100 views a second.
    Each training is said to take half a second a step.
    """
    trained = timing.Speed(
        step_seconds=0.5, scoring_rate=10.0, startup_seconds=4.0, num_params=1000
    )
    monkeypatch.setattr(timing, "measure", lambda *_, **__: trained)
    speed = probe.WorkerSpeed(views_per_second=100.0, startup_seconds=3.0)
    monkeypatch.setattr(probe, "measure", lambda *_, **__: speed)
    monkeypatch.setattr(probe, "count_workers", lambda *_: 2)
    run = job.run
    monkeypatch.setattr(
        job,
        "run",
        lambda **asked: run(**{**asked, "beam_options": BEAM}),
    )


class Told:
    """What follows runs, and all that it is told."""

    epochs, results = [], []

    def on_epoch_end(self, epoch, logs):
        self.epochs.append(logs)

    def on_train_end(self, logs=None):
        self.results.append(logs)


@pytest.mark.exports
def test_chain(small_chain, image_data, tmp_path, in_this_process, monkeypatch, capsys):
    followed = []
    with trackers.tracking(lambda run: followed.append(run) or Told()):
        results = chain.run(small_chain, data=image_data, workdir=tmp_path)
    seen = [[run.directory.name.rpartition("-")[0], run.name[-3:]] for run in followed]
    assert seen[:2] == [["teacher", " s0"], ["teacher", " s1"]]
    assert [kind for kind, _ in seen[2:]] == ["ensemble", "precompute", "student"]

    assert abs(results["num_params"] - 5_000) <= 50
    assert results["distillation_set"]["passes"] == 2
    for name in ("val_accuracy", "test_accuracy", "teacher_agreement"):
        assert 0 <= results[name] <= 1
    assert results["num_examples"] == {"train": 41, "validation": 15, "test": 12}
    kept = runs.read_json(results["results"])
    assert kept["test_accuracy"] == results["test_accuracy"]

    # Both published forms of the student answer alike, on uint8 pixels.
    images = image_data.test.images
    model = keras.models.load_model(results["model"], compile=False)
    saved = export.load_saved_model(results["saved_model"])(images)
    np.testing.assert_allclose(model.predict(images, verbose=0), saved, atol=1e-4)
    accuracy = np.mean(saved.argmax(1) == image_data.test.labels)
    assert accuracy == pytest.approx(results["test_accuracy"])

    # The super teacher is the mean of its members.
    steps = results["chain"]
    members = [
        keras.models.load_model(step["model"], compile=False).predict(images, verbose=0)
        for step in steps["teachers"]
    ]
    both = keras.models.load_model(steps["super_teacher"]["model"], compile=False)
    np.testing.assert_allclose(
        both.predict(images, verbose=0), np.mean(members, axis=0), atol=1e-5
    )
    stored = distillation_set.open(results["distillation_set"]["path"])
    expected = both.predict(image_data.validation.images, verbose=0)
    np.testing.assert_allclose(stored.validation_logits(), expected, atol=1e-4)

    # What was planned for each step stands beside what it took.
    told = capsys.readouterr().err
    for step in (*steps["teachers"], steps["distillation_set"], results):
        assert step["planned_seconds"] > 0 and step["process_seconds"] > 0
    assert [step["name"] for step in kept["plan"]] == [
        "teacher 1",
        "teacher 2",
        "distillation set",
        "student",
    ]
    assert kept["plan"][3]["process_seconds"] == kept["process_seconds"]
    assert "student: planned" in told and "in all: planned" in told

    # Each epoch and each end was told of once.
    assert len(Told.epochs) == 6 and {"loss", "val_accuracy"} <= Told.epochs[0].keys()
    assert Told.results[-1]["test_accuracy"] == results["test_accuracy"]
    assert len(Told.results) == len(followed) and None not in Told.results

    # The same request again: found, neither trained nor measured.
    monkeypatch.setattr(Epochs, "run", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(timing, "measure", lambda *_, **__: pytest.fail("measured"))
    again = chain.run(small_chain, data=image_data, workdir=tmp_path)
    assert again["weights_digest"] == results["weights_digest"]
    assert again["chain"]["distillation_set"]["shards_done"] == 0
    for name in ("planned_seconds", "process_seconds", "plan"):
        assert again[name] == results[name]
    assert "planned" not in capsys.readouterr().err


def test_announcement_says_steps_and_sizes(
    small_chain, image_data, tmp_path, capsys, in_this_process
):
    with pytest.raises(OnlyPlanned) as stopped:
        chain.run(small_chain, data=image_data, workdir=tmp_path, only_plan=True)
    plan, told = stopped.value.plan, capsys.readouterr().err
    names = ["teacher 1", "teacher 2", "distillation set", "student"]
    assert [*plan.costs] == names
    # Two passes and the validation images: the first worker takes 41 and 15.
    assert "97 views in 3 shards, 200 views/s in 2 workers" in told
    assert plan.costs["distillation set"].seconds == pytest.approx(3.0 + 56 / 100 + 2.0)
    assert all(cost.seconds > 0 and cost.num_bytes > 0 for cost in plan.costs.values())
    assert "step 4: student (" in told and "in all about" in told
    assert not any(tmp_path.iterdir())


def test_baseline_has_no_teacher(image_data, tmp_path):
    recipe = urban2017.baseline(
        budget=Budget(5_000),
        convs=2,
        kernel=3,
        image_shape=image_data.image_shape,
        num_classes=image_data.num_classes,
    )
    augmentation = replace(recipe.augmentation, min_crop=6)
    recipe = short(replace(recipe, augmentation=augmentation))
    results = teacher.run(recipe, data=image_data, workdir=tmp_path)
    assert results["teacher_agreement"] is None
    assert results["recipe"]["training"]["objective"]["name"] == "hard-label"
