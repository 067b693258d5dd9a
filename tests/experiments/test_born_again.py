"""Generations through the real code path, with networks of a few hundred weights.

Run as a script (see `main`), this file is the process that a test kills.
"""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.experiments.born_again import (
    generations,
    lineage,
    signals,
)
from kerasdistill.experiments.born_again import (
    story as born_again,
)
from kerasdistill.experiments.born_again.signals import Signal
from kerasdistill.experiments.born_again.story import BornAgain
from kerasdistill.exports import saved_model as export
from kerasdistill.models import fast_layers
from kerasdistill.models.build import build
from kerasdistill.objectives import OBJECTIVES, BanWithLabels
from kerasdistill.recipes import base
from kerasdistill.recipes import born_again as recipes
from kerasdistill.recipes.architectures import BanResNet, DenseNet
from kerasdistill.running import timing
from kerasdistill.running.steps import OnlyPlanned
from kerasdistill.training.distillation_models import StudentModel
from kerasdistill.training.loop import Epochs
from pipelines import precompute as job
from pipelines.beam import probe
from tests.conftest import shapes

ROOT = Path(__file__).resolve().parents[2]
SPEED = timing.Speed(
    step_seconds=0.5, scoring_rate=10.0, startup_seconds=4.0, num_params=1000
)
SHARED = BanResNet(kind="wide", units=1, ratio=1, stem=2, sizes=(2, 2, 3))
TINY = DenseNet(stem=2, growths=((1,), (1,), (1,)), transitions=(2, 2))


def recipe(loss="ban", **changes) -> base.BornAgainRecipe:
    made = recipes.recipe("densenet-bc-10-1")
    settings = {"objective": OBJECTIVES[loss](), "epochs": 2, "batch_size": 21}
    settings |= changes
    return dataclasses.replace(
        made,
        architecture=TINY,
        training=dataclasses.replace(made.training, **settings),
        augmentation=base.CropAugmentation(pad=1),
    )


def asked(loss="ban", *, generations=2, teacher=None, signal=None, **changes):
    return BornAgain(
        arch="tiny",
        recipe=recipe(loss, **changes),
        generations=generations,
        signal=signal or Signal(),
        teacher_path=teacher,
        force=teacher is not None,
    )


@pytest.fixture
def quickly(monkeypatch):
    """Measuring builds networks that it then throws away; Beam would start workers."""
    monkeypatch.setattr(timing, "measure", lambda *_, **__: SPEED)
    speed = probe.WorkerSpeed(views_per_second=100.0, startup_seconds=3.0)
    monkeypatch.setattr(probe, "measure", lambda *_, **__: speed)
    run = job.run
    in_memory = ["--direct_running_mode=in_memory"]
    monkeypatch.setattr(
        job,
        "run",
        lambda **given: run(**{**given, "beam_options": in_memory}),
    )


def logits(row, images):
    model = keras.models.load_model(row["model"], compile=False)
    return model.predict(images, verbose=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A chain of two generations, trained once for the tests that look at it."""
    data = shapes()
    workdir = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "measure", lambda *_, **__: SPEED)
        patch.setattr(export, "export_saved_model", lambda *_, **__: {})
        results = born_again.run(asked(), data=data, workdir=workdir)
    return data, workdir, results


@pytest.fixture
def chain(finished, tmp_path):
    """(data, workdir, results): a copy to damage."""
    data, workdir, results = finished
    copy = tmp_path / "runs"
    shutil.copytree(workdir, copy)
    return data, copy, results


def no_training(monkeypatch):
    monkeypatch.setattr(Epochs, "run", lambda *_: pytest.fail("trained"))


def test_generations_and_ensembles(finished):
    data, workdir, results = finished
    rows = results["generations"]
    assert [row["generation"] for row in rows] == [0, 1, 2]
    assert [row["loss"] for row in rows] == ["hard-label", "ban", "ban"]
    assert len({row["seed"] for row in rows}) == 3
    assert len({row["weights_digest"] for row in rows}) == 3
    for row in rows:
        found = logits(row, data.test.images)
        right = float(np.mean(found.argmax(1) == data.test.labels))
        assert row["test_accuracy"] == pytest.approx(right)
        own = json.loads(Path(row["results"]).read_text())
        assert own["val_accuracy"] == row["val_accuracy"] and own["epochs"] == 2
    # Each learned from the one before.
    taught = [json.loads(Path(row["results"]).read_text()) for row in rows[1:]]
    for before, own in zip(rows, taught, strict=False):
        assert own["teacher"]["weights_digest"] == before["weights_digest"]

    (joined,) = results["ensembles"]
    assert (joined["name"], joined["members"]) == ("Ens*2", [1, 2])
    each = [logits(row, data.test.images).astype("f8") for row in rows[1:]]
    softmax = [np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in each]
    expected = np.log(np.mean(softmax, axis=0))
    np.testing.assert_allclose(
        logits(joined, data.test.images), expected, atol=1e-4, rtol=1e-4
    )
    best = max(rows[1:], key=lambda row: row["val_accuracy"])
    assert results["best_generation"] == best["generation"]
    names = [step["name"] for step in results["plan"]]
    assert names == ["generation 0", "generation 1", "generation 2"]
    with open(results["picture"], "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_the_same_request_is_found_where_the_workdir_is_now(chain, monkeypatch):
    data, workdir, results = chain
    no_training(monkeypatch)
    again = born_again.run(asked(), data=data, workdir=workdir)
    for row in (*again["generations"], *again["ensembles"]):
        assert (
            Path(row["model"]).is_relative_to(workdir) and Path(row["model"]).exists()
        )
    assert (
        again["generations"][2]["weights_digest"]
        == (results["generations"][2]["weights_digest"])
    )


@pytest.mark.slow
def test_another_loss_begins_with_the_same_generation_0(chain, quickly, monkeypatch):
    data, workdir, results = chain
    train = generations.training.train
    monkeypatch.setattr(generations.training, "train", only_a_student(train))
    made = born_again.run(
        asked("cwtm", generations=1, epochs=2), data=data, workdir=workdir
    )
    first, second = made["generations"]
    assert first["weights_digest"] == results["generations"][0]["weights_digest"]
    assert second["loss"] == "cwtm"
    # The same seed as BAN-1: the same start and views, another loss.
    assert second["seed"] == results["generations"][1]["seed"]
    assert [step["name"] for step in made["plan"]] == ["generation 1"]
    assert made["ensembles"] == []


def only_a_student(train):
    def watched(recipe, **how):
        assert recipe.training.loss != "hard-label"
        return train(recipe, **how)

    return watched


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("unfinished", [False, True])
def test_a_generation_that_is_gone_or_changed_is_named(
    number, unfinished, chain, monkeypatch
):
    data, workdir, results = chain
    no_training(monkeypatch)
    own = workdir / Path(results["results"]).parent.name
    if unfinished:
        (own / "results.json").unlink()
    model = workdir / Path(results["generations"][number]["model"]).parent.name
    kept = (model / "model.keras").read_bytes()
    (model / "model.keras").write_bytes(kept[:-1])
    with pytest.raises(StaleArtifactError, match=f"generation {number} .* has changed"):
        born_again.run(asked(), data=data, workdir=workdir)
    shutil.rmtree(model)
    with pytest.raises(StaleArtifactError, match=f"generation {number} .* is missing"):
        born_again.run(asked(), data=data, workdir=workdir)


def test_a_generation_that_no_run_recorded_is_looked_at_before_it_teaches(chain):
    data, workdir, results = chain
    model = workdir / Path(results["generations"][1]["model"]).parent.name
    found = json.loads((model / "results.json").read_text())
    found["model"] = str(model / "model.keras")
    teacher = signals.teacher_of(found, name="generation 1", data=data)
    assert teacher.digest == found["weights_digest"]
    with pytest.raises(StaleArtifactError, match="generation 1 has changed"):
        other = {**found, "weights_digest": "0" * 64}
        signals.teacher_of(other, name="generation 1", data=data)
    (model / "model.keras").unlink()
    with pytest.raises(StaleArtifactError, match="generation 1 is missing"):
        signals.teacher_of(found, name="generation 1", data=data)


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("number", [0, 2])
def test_another_story_looks_at_the_generations_that_it_finds(
    chain, quickly, number, gone
):
    data, workdir, results = chain
    path = Path(results["generations"][number]["model"])
    other = Path(results["generations"][1]["model"])
    story = Path(results["results"]).parent
    path, other = (workdir / each.parent.name / each.name for each in (path, other))
    shutil.rmtree(workdir / story.name)
    if gone:
        path.unlink()
    else:
        shutil.copy(other, path)
    with pytest.raises(StaleArtifactError, match=f"generation {number} "):
        born_again.run(asked(), data=data, workdir=workdir)


def test_a_given_teacher_is_generation_0(chain, quickly):
    data, workdir, results = chain
    first = results["generations"][0]
    made = born_again.run(
        asked("dkpp", generations=1, teacher=first["model"], epochs=1),
        data=data,
        workdir=workdir / "elsewhere",
    )
    given, student = made["generations"]
    assert given["weights_digest"] == first["weights_digest"]
    assert given["test_accuracy"] == first["test_accuracy"]
    assert (given["loss"], student["loss"]) == (None, "dkpp")
    assert made["teacher_arch"] == "a given model"
    runs = [path.name for path in (workdir / "elsewhere").glob("*-*")]
    assert sorted(name.rsplit("-", 1)[0] for name in runs) == [
        "born-again",
        "generation",
    ]


@pytest.mark.slow
def test_a_dense_student_of_a_wide_resnet(image_data, tmp_path, quickly):
    wide = recipes.recipe("wide-resnet-10-1").architecture
    shape, classes = image_data.image_shape, image_data.num_classes
    teacher = tmp_path / "wide.keras"
    network = build(wide, image_shape=shape, num_classes=classes, seed=0)
    fast_layers.with_keras_layers(network).save(teacher)
    made = born_again.run(
        asked(generations=1, teacher=str(teacher), epochs=1),
        data=image_data,
        workdir=tmp_path / "runs",
    )
    given, student = made["generations"]
    assert keras.models.load_model(given["model"]).name == "wide_resnet"
    assert keras.models.load_model(student["model"]).name == "densenet"
    assert student["test_accuracy"] is not None


def test_on_labels_the_teacher_gives_its_layers_and_no_answers(
    chain, quickly, monkeypatch
):
    data, workdir, results = chain
    completed = StudentModel.completed

    def unasked(shell, batch):
        assert not shell.asked
        return completed(shell, batch)

    monkeypatch.setattr(StudentModel, "completed", unasked)
    request = asked("hard-label", generations=1, epochs=1)
    shared = dataclasses.replace(request.recipe, architecture=SHARED)
    path = results["generations"][0]["model"]
    request = dataclasses.replace(request, recipe=shared, teacher_path=path, force=True)
    made = born_again.run(request, data=data, workdir=workdir)
    teacher, student = (
        keras.models.load_model(row["model"], compile=False)
        for row in made["generations"]
    )
    for name in ("conv_1", "logits"):
        pair = [each.get_layer(name).get_weights() for each in (teacher, student)]
        for theirs, own in zip(*pair, strict=True):
            np.testing.assert_array_equal(theirs, own)
    row = made["generations"][1]
    assert row["loss"] == "hard-label"
    assert json.loads(Path(row["results"]).read_text())["teacher_signal"] is None


def test_stored_answers_train_as_live_ones(chain, quickly):
    data, workdir, results = chain
    live = results["generations"][1]
    where = {"data": data, "workdir": workdir}
    stored = born_again.run(asked(generations=1, signal=Signal("stored")), **where)
    assert [step["name"] for step in stored["plan"]] == [
        "distillation set for generation 1",
        "generation 1",
    ]
    student = stored["generations"][1]
    models = [keras.models.load_model(row["model"]) for row in (live, student)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    own = json.loads(Path(student["results"]).read_text())
    assert own["teacher_signal"] == "stored"
    assert own["distillation_set"]["passes"] == 2


@pytest.mark.slow
def test_views_held_in_memory_change_nothing(chain, quickly):
    data, workdir, _ = chain
    made = [
        born_again.run(
            asked(generations=1, signal=Signal("stored", passes=1, resident=resident)),
            data=data,
            workdir=place,
        )["generations"][1]["weights_digest"]
        for resident, place in (("always", workdir), ("never", _copy(workdir)))
    ]
    assert made[0] == made[1]


def _copy(workdir):
    """Without the students, which would be found."""
    copy = workdir.with_name("copy")
    shutil.copytree(workdir, copy)
    for run in copy.glob("generation-*"):
        if "teacher" in json.loads((run / "recipe.json").read_text()):
            shutil.rmtree(run)
    for run in copy.glob("born-again-*"):
        shutil.rmtree(run)
    return copy


def test_the_plan_names_what_is_left(image_data, tmp_path, quickly, capsys):
    with pytest.raises(OnlyPlanned) as stopped:
        request = asked(generations=3)
        born_again.run(request, data=image_data, workdir=tmp_path, only_plan=True)
    names = [f"generation {number}" for number in range(4)]
    assert [*stopped.value.plan.costs] == names
    told = capsys.readouterr().err
    assert "generation 3 (DenseNet, 2 epochs" in told
    assert not any(tmp_path.iterdir())


def test_recipes_of_generations():
    made = recipe(objective=BanWithLabels(2.0, label_weight=0.5))
    zero = generations.recipe_of(made, 0)
    assert zero == recipe("hard-label")
    first, second = (generations.recipe_of(made, number) for number in (1, 2))
    assert first.training.objective == made.training.objective
    seeds = {each.training.seed for each in (zero, first, second)}
    assert len(seeds) == 3
    other = generations.recipe_of(recipe("ban+l", seed=1), 1).training.seed
    assert other not in seeds


def test_shared_layers_come_from_the_teacher(image_data):
    network = SHARED
    options = {"image_shape": (8, 8, 3), "num_classes": 3}
    teacher = build(TINY, seed=7, **options)
    student = build(network, seed=8, teacher=teacher, **options)
    for name in ("conv_1", "logits"):
        pair = [model.get_layer(name).get_weights() for model in (teacher, student)]
        for theirs, own in zip(*pair, strict=True):
            np.testing.assert_array_equal(theirs, own)
    wider = dataclasses.replace(network, sizes=(2, 2, 4))
    with pytest.raises(UserError, match="densenet-90-60"):
        build(wider, teacher=teacher, **options)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"generations": 0}, "`generations` is 0"),
        (
            {
                "recipe": dataclasses.replace(
                    recipe(), architecture=BanResNet("pre", 1, 1)
                )
            },
            "`teacher_path=PATH`",
        ),
        ({"teacher_path": "/nowhere.keras"}, "/nowhere.keras"),
    ],
)
def test_requests_that_cannot_be_met(changes, fragment, image_data, tmp_path):
    request = dataclasses.replace(asked(), **changes)
    with pytest.raises(UserError, match=fragment):
        born_again.run(request, data=image_data, workdir=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("loss", ["ban+l", "cwtm", "hard-label"])
def test_losses_of_labels_need_them(loss, image_data, tmp_path):
    unlabelled = dataclasses.replace(
        image_data,
        train=dataclasses.replace(
            image_data.train, labels=np.full(len(image_data.train), -1)
        ),
    )
    with pytest.raises(UserError, match="learns labels, but shapes has none"):
        born_again.run(asked(loss), data=unlabelled, workdir=tmp_path)
    with pytest.raises(UserError, match="distillation set made from it have none"):
        given = asked(loss, teacher="t.keras", signal=Signal("stored"))
        born_again.run(given, data=unlabelled, workdir=tmp_path)


def test_images_without_labels_have_what_the_teacher_says(chain, quickly):
    data, workdir, results = chain
    unlabelled = dataclasses.replace(
        data,
        **{
            name: dataclasses.replace(split, labels=np.full(len(split), -1))
            for name, split in (("train", data.train), ("validation", data.validation))
        },
        test=data.test.take(np.arange(0)),
    )
    teacher = results["generations"][0]["model"]
    made = born_again.run(
        asked(generations=1, teacher=teacher, epochs=1),
        data=unlabelled,
        workdir=workdir,
    )
    student = made["generations"][1]
    assert student["val_accuracy"] is student["test_accuracy"] is None
    assert 0 <= student["teacher_agreement"] <= 1
    assert made["ensembles"] == [] and made["best_generation"] is None


def test_the_name_of_a_teacher_s_network(tmp_path):
    row = {"model": str(tmp_path / "model.keras")}
    assert lineage.teacher_arch(row) == lineage.UNNAMED
    known = {"recipe": base.to_json(recipes.recipe("densenet-90-60"))}
    (tmp_path / "results.json").write_text(json.dumps(known))
    assert lineage.teacher_arch(row) == "densenet-90-60"


def trained_elsewhere(workdir, *options):
    """This file as a process of its own."""
    return subprocess.run(
        [sys.executable, __file__, str(workdir), *options],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_process_goes_on_inside_its_generation(tmp_path):
    whole = trained_elsewhere(tmp_path / "whole")
    killed = trained_elsewhere(tmp_path / "parts", "--die")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = trained_elsewhere(tmp_path / "parts")
    assert "resuming after epoch 1 " in again.stderr
    assert "step 1: generation 1" in again.stderr  # the 0th was finished
    assert again.stdout == whole.stdout != ""


def main(workdir: str, *options: str) -> None:
    """Trains two generations and prints their digests; with --die it kills itself as
    the first epoch of generation 1 is saved."""
    save = Epochs._save

    def save_and_die(self):
        save(self)
        if "teacher_agreement" in self._history[-1]:
            os.kill(os.getpid(), signal.SIGKILL)

    if "--die" in options:
        Epochs._save = save_and_die
    timing.measure = lambda *_, **__: SPEED
    request = asked(generations=1, epochs=3)
    made = born_again.run(request, data=shapes(), workdir=workdir)
    print([row["weights_digest"] for row in made["generations"]])


if __name__ == "__main__":
    main(*sys.argv[1:])
