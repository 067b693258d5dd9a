"""What is timed, what is left, and that planning changes nothing else."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import runs
from kerasdistill.errors import StaleArtifactError
from kerasdistill.experiments import precompute, teacher, verify
from kerasdistill.models import urban
from kerasdistill.recipes import base, urban2017
from kerasdistill.running import timing, training
from kerasdistill.running.steps import OnlyPlanned
from kerasdistill.running.timing import Speed, Stopwatch
from kerasdistill.runs import RunDirectory
from kerasdistill.training import checkpoint
from kerasdistill.training.schedules import PaperSchedule
from pipelines import checking
from pipelines.beam import probe
from pipelines.beam.probe import WorkerSpeed

pytestmark = pytest.mark.measured

SPEED = Speed(step_seconds=0.5, scoring_rate=10.0, startup_seconds=4.0, num_params=1000)


@pytest.fixture
def recipe():
    made = urban2017.teacher_of(filters=(3, 4, 5), dense=6)
    settings = {"schedule": "cosine", "epochs": 3, "batch_size": 16}
    return replace(
        made,
        training=replace(made.training, **settings),
        augmentation=replace(made.augmentation, min_crop=6),
    )


class Clock:
    """Shows the next of these times at every look."""

    def __init__(self, *times):
        self._times = iter(times)

    def __call__(self):
        return next(self._times)


def steps(watch):
    """The numbers of steps that a session was to do at once."""
    done = []
    watch.time(done.append)
    return done


def test_the_stopwatch_leaves_out_compiling_and_full_buffers(monkeypatch):
    monkeypatch.setattr(timing, "_WARM_SECONDS", 1.0)
    # Begun at 10, compiled at 30; eight steps out of a buffer; then a step takes 0.1 s.
    buffered = [30.0 + 0.01 * step for step in range(9)]
    steady = [40.0 + 0.1 * step for step in (0, 1, 3, 7, 11, 15)]
    watch = Stopwatch(1.5, clock=Clock(10.0, 30.0, *buffered, *steady))
    assert steps(watch) == [1, *[1] * 8, 1, 2, 4, 4, 4]
    assert watch.startup_seconds == 20.0
    assert watch.seconds_per_step == pytest.approx(0.1)


def test_slow_steps_are_few(monkeypatch):
    monkeypatch.setattr(timing, "_WARM_SECONDS", 1.0)
    watch = Stopwatch(1.5, clock=Clock(0.0, 9.0, 9.0, 13.0, 13.0, 16.0, 19.0))
    assert steps(watch) == [1, 1, 1, 1]
    assert watch.seconds_per_step == 3.0


def test_a_training_costs_epochs_validation_and_what_is_done_once(
    recipe, image_data, tmp_path
):
    how = {"speed": SPEED, "data": image_data}
    run = interrupted(tmp_path, recipe, image_data, epochs=1)
    stored = timing.stored_bytes(run)
    cost = timing.training_cost(recipe, run=run, **how)
    # 41 images are three steps; 15 and 12 are scored 10 a second.
    an_epoch = 3 * 0.5 + 1.5
    assert cost.seconds == pytest.approx(2 * an_epoch + 2.7 + timing._ONCE * 4.0)
    assert cost.num_bytes == 28 * 1000 - stored
    assert "3-4-5, 2 epochs, 27 images/s, float32" in cost.how
    run = interrupted(tmp_path, recipe, image_data, epochs=2)
    few = replace(SPEED, num_params=1)
    one = timing.training_cost(recipe, run=run, speed=few, data=image_data)
    assert one.num_bytes == 0 and "1 epoch," in one.how


def interrupted(workdir, recipe, data, *, epochs, schedule=None) -> RunDirectory:
    """The run of a teacher whose process was killed after so many epochs."""
    run = training.run_directory(recipe, kind="teacher", data=data, workdir=workdir)
    state = {
        "history": [{"epoch": 1 + epoch} for epoch in range(epochs)],
        "schedule": asdict(schedule or PaperSchedule(epoch=epochs)),
    }
    checkpoint.save(
        run.path / "checkpoints" / "last.npz", [tf.Variable(np.zeros(500, "f4"))], state
    )
    return run


def test_epochs_left(recipe, image_data, tmp_path):
    fresh = training.run_directory(
        recipe, kind="teacher", data=image_data, workdir=tmp_path
    )
    assert timing.epochs_left(recipe, fresh) == 3 and timing.stored_bytes(fresh) == 0
    run = interrupted(tmp_path, recipe, image_data, epochs=2)
    assert timing.epochs_left(recipe, run) == 1
    assert timing.stored_bytes(run) > 2_000

    papers = replace(
        recipe, training=replace(recipe.training, schedule="paper", epochs=None)
    )
    run = interrupted(tmp_path, papers, image_data, epochs=40)
    assert timing.epochs_left(papers, run) == timing.ASSUMED_EPOCHS - 40
    run = interrupted(tmp_path, papers, image_data, epochs=140)
    assert timing.epochs_left(papers, run) == 1
    ended = PaperSchedule(epoch=31, stop=True)
    run = interrupted(tmp_path, papers, image_data, epochs=31, schedule=ended)
    assert timing.epochs_left(papers, run) == 0
    (run.path / "checkpoints" / "last.npz").write_bytes(b"PK")
    with pytest.raises(StaleArtifactError, match="is damaged"):
        timing.epochs_left(papers, run)


def test_measuring_trains_a_copy(recipe, image_data):
    stream = training.labelled_stream(recipe, kind="teacher", data=image_data)
    speed = timing.measure(recipe, stream=stream, data=image_data)
    assert 0 < speed.step_seconds < 5 and speed.scoring_rate > 10
    assert speed.startup_seconds > speed.step_seconds
    assert speed.num_params > 300


def test_a_plan_is_made_once_and_stays_out_of_the_identity(
    recipe, image_data, tmp_path, monkeypatch, capsys
):
    speeds = iter([SPEED])
    monkeypatch.setattr(timing, "measure", lambda *_, **__: next(speeds))
    made = teacher.run(recipe, data=image_data, workdir=tmp_path)
    told = capsys.readouterr().err
    assert "step 1: teacher (3-4-5, 3 epochs" in told and "teacher: planned" in told
    kept = runs.read_json(made["results"])
    assert kept["planned_seconds"] == pytest.approx(9.0 + 2.7 + timing._ONCE * 4.0)
    assert kept["process_seconds"] >= kept["seconds"]
    assert "planned" not in str(
        runs.read_json(tmp_path / run_name(made) / "recipe.json")
    )
    # Found again, by the same request: not measured.
    assert teacher.run(recipe, data=image_data, workdir=tmp_path) == made
    assert "planned" not in capsys.readouterr().err


def run_name(results):
    return results["model"].split("/")[-2]


def test_a_baseline_plans_too(image_data, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "measure", lambda *_, **__: SPEED)
    monkeypatch.setattr(timing, "epochs_left", lambda *_: 7)
    made = urban2017.baseline(
        budget=urban2017.Budget(5_000),
        convs=2,
        kernel=3,
        image_shape=image_data.image_shape,
        num_classes=image_data.num_classes,
    )
    made = replace(
        made,
        training=replace(made.training, schedule="cosine", epochs=1, batch_size=41),
        augmentation=replace(made.augmentation, min_crop=6),
    )
    found = teacher.run(made, data=image_data, workdir=tmp_path)
    expected = 7 * (0.5 + 1.5) + 2.7 + timing._ONCE * 4.0
    assert found["planned_seconds"] == pytest.approx(expected)


@pytest.fixture
def label(image_data, tmp_path, monkeypatch, recipe):
    """Makes a set of two workers that are said to score 100 views a second."""
    asked = []

    def measured(paths, **known):
        asked.append(known)
        return WorkerSpeed(views_per_second=100.0, startup_seconds=3.0)

    monkeypatch.setattr(probe, "measure", measured)
    path = tmp_path / "teacher.keras"
    model = urban.build(
        recipe.architecture, image_shape=(8, 8, 3), num_classes=3, seed=0
    )
    model.save(path)

    def make(passes, **options):
        found = precompute.run(
            [path],
            data=image_data,
            workdir=tmp_path,
            passes=passes,
            signal=precompute.Signal(augmentation=base.Augmentation(min_crop=6)),
            beam_options=["--direct_running_mode=in_memory"],
            force=True,
            **options,
        )
        return found, asked

    return make


def test_only_missing_shards_are_planned(label, tmp_path, capsys, monkeypatch):
    tried, check = [], checking.check_values

    def counted(*what, **how):
        tried.append(what)
        return check(*what, **how)

    monkeypatch.setattr(checking, "check_values", counted)
    made, asked = label(2)
    assert len(tried) == 1  # by the plan, for the work
    # Two passes of 41, and the validation images of 15.
    assert made["planned_seconds"] == pytest.approx(3.0 + 97 / 100)
    assert made["process_seconds"] > 0
    assert (
        "97 views in 3 shards, 100 views/s in this process" in capsys.readouterr().err
    )

    again, _ = label(2)
    assert again["planned_seconds"] == made["planned_seconds"]
    assert again["process_seconds"] == made["process_seconds"]
    assert len(asked) == 1 and "planned" not in capsys.readouterr().err

    (gone,) = tmp_path.rglob("pass-00001.tfrecord-*-of-00001")
    gone.unlink()
    finished, _ = label(2)
    assert finished["planned_seconds"] == pytest.approx(3.0 + 41 / 100)
    longer, _ = label(3)
    assert longer["planned_seconds"] == pytest.approx(3.0 + 41 / 100)
    assert len(asked) == 3


def test_a_failed_probe_stops_nothing(label, monkeypatch, capsys):
    monkeypatch.setattr(probe, "measure", lambda *_, **__: None)
    made, _ = label(1)
    assert made["planned_seconds"] is None and made["process_seconds"] > 0
    assert "time not known" in capsys.readouterr().err


def test_a_plan_names_a_network_somebody_brought(image_data):
    given = base.GivenNetwork("keras:MobileNetV2", None)
    recipe = urban2017.given(given, image_shape=(32, 32, 3))
    cost = timing.training_cost(recipe, speed=SPEED, data=image_data, run=None)
    assert cost.how.startswith("MobileNetV2, ")


def test_a_plan_of_verifying_scores_nothing(label, image_data, tmp_path):
    made, _ = label(1)
    how = {"data": image_data, "workdir": tmp_path, "sample": 10, "seed": 0}
    with pytest.raises(OnlyPlanned) as stopped:
        path = made["distillation_set"]
        verify.run(path, teacher_paths=None, **how, only_plan=True)
    (cost,) = stopped.value.plan.costs.values()
    assert cost.seconds is None and "41 views read, 10 scored" in cost.how
