"""Whole searches with tiny networks: what they leave, and how they go on.

Run as a script (see `main`), this file is the process that a test kills.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import cards, devices, evaluation, runs
from kerasdistill.budget import Budget
from kerasdistill.errors import DivergedError, StaleArtifactError, UserError
from kerasdistill.experiments import (
    asking,
    ensemble,
    search,
    searches,
    training,
    trials,
)
from kerasdistill.experiments.asking import Search
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import base
from kerasdistill.recipes.base import Augmentation
from kerasdistill.training.epochs import FitResult
from pipelines import datasets, live_views, precompute
from tuners import halving, record, spaces

ROOT = Path(__file__).resolve().parents[2]
BUDGET = Budget(5_000)
SHAPE = {"convs": 2, "kernel": 3}
AUGMENTATION = Augmentation(min_crop=6)


def finish(recipe, *, epochs=2, seed=0):
    """Two quick epochs of 8x8 images."""
    settings = {"schedule": "cosine", "epochs": epochs, "batch_size": 16, "seed": seed}
    augmentation = dataclasses.replace(recipe.augmentation, min_crop=6)
    return dataclasses.replace(
        recipe,
        training=dataclasses.replace(recipe.training, **settings),
        augmentation=augmentation,
    )


def asked(kind="baseline", **changes) -> Search:
    geometry = {"image_shape": (8, 8, 3), "num_classes": 3}
    families = {"baseline": spaces.baseline, "student": spaces.student}
    make = families.get(kind, spaces.baseline)
    space = make(budget=BUDGET, **SHAPE, **geometry)
    settings = {
        "kind": kind,
        "space": space,
        "finish": finish,
        "family": {"budget": BUDGET.num_params, **SHAPE},
        "max_trials": 3,
        "oracle": "random",
    }
    return Search(**{**settings, **changes})


def run(data, workdir, **changes):
    return searches.on_labels(asked(**changes), data=data, workdir=workdir)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch, request):
    """What a trial costs is only measured in slow tests; it takes seconds."""
    if request.node.get_closest_marker("slow"):
        return
    speed = search.costs.Speed(
        step_seconds=0.1, scoring_rate=1e3, startup_seconds=1.0, num_params=5_000
    )
    monkeypatch.setattr(search.costs, "measure", lambda *_, **__: speed)
    # Collecting garbage takes a third of a second in a process of many tests.
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


@pytest.fixture
def pretended(monkeypatch):
    """No training: the model as it is built, and a score made of the learning rate.

    Gives the data that every training would have seen.
    """
    seen = []

    def train(build, recipe, *, data, run, **how):
        seen.append(data)
        count = len(data.validation)
        score = np.float32(round(recipe.training.learning_rate * 40 * count) / count)
        rows = ({"val_accuracy": float(score)}, {"val_accuracy": 0.0})
        fitted = FitResult(2, 1, float(score), 0.1, 100.0, rows)
        return training.built(build, recipe, data).student, fitted

    monkeypatch.setattr(training, "train", train)
    return seen


@pytest.fixture
def trained(monkeypatch):
    """The data every training sees, in order."""
    seen, train = [], training.train

    def watching(*what, data, **how):
        seen.append(data)
        return train(*what, data=data, **how)

    monkeypatch.setattr(training, "train", watching)
    return seen


def outcomes(folder):
    return [
        (t["number"], t["values"], t.get("val_accuracy"), t.get("best_epoch"))
        for t in record.trials(folder)
    ]


def test_a_search(image_data, tmp_path, trained, monkeypatch, capsys):
    scored, predict = [], evaluation.predict

    def watching(model, images, **how):
        scored.append((len(trained), len(images)))
        return predict(model, images, **how)

    monkeypatch.setattr(evaluation, "predict", watching)
    found = run(image_data, tmp_path, max_trials=2)
    # No trial was handed test images; they are scored once, after the last.
    assert [len(data.test) for data in trained] == [0, 0]
    assert [row for row in scored if row[1] == len(image_data.test)] == [(2, 12)]

    folder = Path(found["search"])
    ranking = record.ranked(record.trials(folder))
    best = ranking[0]
    assert found["best_trial"] == best["number"]
    assert found["best"] == best["val_accuracy"] == found["val_accuracy"]
    for trial in ranking:
        assert abs(trial["num_params"] - 5_000) <= 50
        assert not (trial["folder"] / "checkpoints").exists()
        assert (trial["folder"] / "model.keras").exists() == (trial is best)

    # The published model is the trial's own, and answers as it should.
    kept = keras.models.load_model(best["folder"] / "model.keras", compile=False)
    assert found["weights_digest"] == weights_digest(kept)
    logits = predict(kept, image_data.test.images)
    right = evaluation.accuracy(logits, image_data.test.labels)
    assert found["test_accuracy"] == right
    assert found["planned_seconds"] > 0 and found["process_seconds"] > 0
    recipe = base.from_json(runs.read_json(found["best_recipe"]))
    assert recipe == finish(asked().space.recipe(best["values"]))
    assert base.from_json(found["recipe"]) == recipe
    assert "trial 2 of 2: val_accuracy" in capsys.readouterr().err
    assert_on_board(folder, ["trial_0", "trial_1"])


def assert_on_board(folder, names):
    """TensorBoard's files have the page of hyperparameters and every curve."""
    tags = {}
    for path in sorted(folder.rglob("*.tfevents.*")):
        where = str(path.parent.relative_to(folder))
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                tags.setdefault(where, set()).add(value.tag)
    assert "_hparams_/experiment" in tags["tensorboard"]
    for name in names:
        shown = tags[f"trials/{name}/tensorboard/hparams"]
        assert {"_hparams_/session_start_info", "val_accuracy"} <= shown
        assert "epoch_loss" in tags[f"trials/{name}/tensorboard/train"]


def test_more_trials_go_on(image_data, tmp_path, pretended):
    found = run(image_data, tmp_path)
    folder = Path(found["search"])
    assert found["trials"] == 3 and found["failed_trials"] == 0
    assert found["fifth_best"] is None and found["mean_of_five_best"] is None
    told = json.loads((folder / "trials.json").read_text())
    assert [t["val_accuracy"] for t in told["trials"]] == [
        accuracy for _, _, accuracy, _ in outcomes(folder)
    ]
    assert (folder / "trials.csv").read_text().count("\n") == 4

    # Again: found. Two more: only these are trained, and five make a mean.
    assert run(image_data, tmp_path)["results"] == found["results"]
    assert len(pretended) == 3
    more = run(image_data, tmp_path, max_trials=5)
    assert len(pretended) == 5 and more["search"] == found["search"]
    scores = sorted((a for _, _, a, _ in outcomes(folder)), reverse=True)
    assert more["mean_of_five_best"] == pytest.approx(np.mean(scores))
    assert more["fifth_best"] == scores[-1] and more["best"] == scores[0]
    assert (
        found["best_trial"]
        == outcomes(folder).index(max(outcomes(folder)[:3], key=lambda row: row[2])) + 1
    )


class Gone(BaseException):
    """As if the process were."""


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ["random", "gp"])
def test_an_interrupted_trial_goes_on(oracle, image_data, tmp_path, monkeypatch):
    whole = run(image_data, tmp_path / "whole", oracle=oracle)
    epochs = []

    def dying(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 4:  # in the second trial, whose first epoch is done
            raise Gone
        return begin(self, epoch, logs)

    from kerasdistill.training.epochs import Epochs

    begin = Epochs.on_epoch_begin
    monkeypatch.setattr(Epochs, "on_epoch_begin", dying)
    with pytest.raises(Gone):
        run(image_data, tmp_path / "parts", oracle=oracle)
    parts = run(image_data, tmp_path / "parts", oracle=oracle)
    assert epochs == [0, 1, 0, 1, 1, 0, 1]  # no finished epoch comes again
    assert outcomes(parts["search"]) == outcomes(whole["search"])
    assert parts["weights_digest"] == whole["weights_digest"]
    assert parts["test_accuracy"] == whole["test_accuracy"]


def test_diverged_trials(image_data, tmp_path, pretended, monkeypatch):
    train = training.train

    def diverging(*what, run, **how):
        if run.path.name in ("trial_0", "trial_2"):
            raise DivergedError("the loss is nan at step 2")
        return train(*what, run=run, **how)

    monkeypatch.setattr(training, "train", diverging)
    found = run(image_data, tmp_path)
    assert found["best_trial"] == 2 and found["failed_trials"] == 2
    told = json.loads(Path(found["trials_table"]).read_text())["trials"]
    assert [t["status"] for t in told] == ["FAILED", "COMPLETED", "FAILED"]
    assert told[0]["val_accuracy"] is None and told[0]["values"]["c1"] >= 0


def test_no_score_at_all(image_data, tmp_path, monkeypatch):
    def diverging(*what, **how):
        raise DivergedError("the loss is nan at step 2")

    monkeypatch.setattr(training, "train", diverging)
    with pytest.raises(UserError, match="none of 3 trials .*nan at step 2"):
        run(image_data, tmp_path)
    with pytest.raises(UserError, match="none of 10 trials"):
        run(image_data, tmp_path, max_trials=50)
    again = []
    monkeypatch.setattr(training, "train", lambda *_, **__: again.append(1))
    with pytest.raises(UserError, match="none of 10 trials"):
        run(image_data, tmp_path, max_trials=50)
    assert not again


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"family": {"budget": 6_000, **SHAPE}}, "family.budget is 5000, not 6000"),
        ({"space": asked().space.fix({"c1": 0.5})}, "space.5.fixed is None, not 0.5"),
        ({"oracle": "gp"}, "oracle is 'random', not 'gp'"),
        ({"seed": 1}, "seed is 0, not 1"),
    ],
)
def test_another_searchs_folder_is_refused(changes, fragment, image_data, tmp_path):
    folder = str(tmp_path / "mine")
    search_, data = asked(folder=folder), image_data
    identity = asking.identity(search_, data, {})
    with runs.RunDirectory(Path(folder), identity):
        pass
    with pytest.raises(StaleArtifactError) as refusal:
        run(data, tmp_path, folder=folder, **changes)
    assert fragment in str(refusal.value)
    other = dataclasses.replace(data, name="circles")
    with pytest.raises(StaleArtifactError, match="dataset.name is 'shapes'"):
        run(other, tmp_path, folder=folder)


def test_the_objective_may_be_shrunken(image_data, tmp_path, pretended):
    found = run(
        image_data, tmp_path, max_trials=2, objective_views=20, objective_images=9
    )
    assert [len(data.validation) for data in pretended] == [9, 9]
    assert found["num_examples"]["validation"] == 15
    scores = [trial["val_accuracy"] * 9 for trial in record.trials(found["search"])]
    assert scores == pytest.approx(np.round(scores))
    with pytest.raises(UserError, match="--objective-views is 42, but shapes has 41"):
        run(image_data, tmp_path, objective_views=42)
    with pytest.raises(UserError, match="--objective-images is 16"):
        run(image_data, tmp_path, objective_images=16)
    endless = lambda recipe: finish(recipe, epochs=None)  # noqa: E731
    with pytest.raises(UserError, match="--epochs N"):
        run(image_data, tmp_path, objective_views=20, finish=endless)


def test_shortened_epochs_begin_like_whole_ones(image_data):
    whole = live_views.stream(
        image_data.train, augmentation=AUGMENTATION, seed=1, batch_size=8
    )
    short = trials.shortened(whole, views=20, batch_size=8, epochs=3)
    assert (short.steps_per_epoch, short.examples_per_epoch) == (2, 16)

    def images(stream, epoch, count):
        return [np.asarray(b["image"]) for b in stream.batches(epoch).take(count)]

    expected = images(whole, 1, 2) + images(whole, 2, 2)
    for one, other in zip(images(short, 1, 4), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(images(short, 2, 5)) == 5  # those who measure read on


@pytest.mark.slow
def test_pruned_trials_end_early(image_data, tmp_path, monkeypatch):
    monkeypatch.setattr(halving, "FIRST_RUNG", 1)
    monkeypatch.setattr(halving, "FEWEST_OTHERS", 1)
    found = run(image_data, tmp_path, max_trials=5, prune=True)
    every = record.trials(found["search"])
    lengths = {t["number"]: (t["epochs"], t["pruned"]) for t in every}
    assert lengths[1] == (2, False)
    assert (1, True) in lengths.values()
    assert set(lengths.values()) == {(2, False), (1, True)}
    for trial in every:
        before = [t["curve"] for t in every if t["number"] < trial["number"]]
        behind = halving.hopeless(trial["curve"][:1], before)
        assert trial["pruned"] == behind


@pytest.mark.slow
def test_the_best_from_more_seeds(image_data, tmp_path):
    found = run(image_data, tmp_path, max_trials=2, seeds=2)
    told = found["seeds"]
    assert told["seeds"] == [1, 2]
    kept = [runs.read_json(path) for path in told["results"]]
    assert [each["recipe"]["training"]["seed"] for each in kept] == [1, 2]
    assert {each["kind"] for each in kept} == {"baseline"}
    for name in ("val_accuracy", "test_accuracy"):
        each = [result[name] for result in kept]
        assert told[name]["each"] == each
        assert told[name]["mean"] == pytest.approx(np.mean(each))
        assert told[name]["sd"] == pytest.approx(np.std(each, ddof=1))


def test_labels_are_needed(image_data, tmp_path):
    unknown = dataclasses.replace(
        image_data.train, labels=np.full(len(image_data.train), -1)
    )
    with pytest.raises(UserError, match="has no labels"):
        run(dataclasses.replace(image_data, train=unknown), tmp_path)


@pytest.fixture
def stored(image_data, tmp_path):
    """A set of two passes."""
    keras.utils.set_random_seed(0)
    teacher = str(tmp_path / "teacher.keras")
    keras.Sequential(
        [
            keras.Input(image_data.image_shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(image_data.num_classes),
        ]
    ).save(teacher)
    precompute.run(
        teacher_paths=[teacher],
        data=image_data,
        augmentation=AUGMENTATION,
        passes=2,
        store="replay",
        output=str(tmp_path / "set"),
        seed=5,
        beam_options=["--direct_running_mode=in_memory"],
        force=True,
    )
    return tmp_path / "set"


@pytest.mark.slow
def test_students_on_a_set(image_data, stored, tmp_path):
    def ask(folder, **how):
        return searches.on_set(
            asked("student", max_trials=2, folder=str(folder)),
            data=image_data,
            workdir=tmp_path,
            distillation_set_path=stored,
            **how,
        )

    found = ask(tmp_path / "a", resident="always")
    assert 0 <= found["teacher_agreement"] <= 1
    assert found["distillation_set"]["passes"] == 2
    assert [step["name"] for step in found["plan"]] == ["search for a student"]
    # In memory or through the reader, the search is the same.
    piped = ask(tmp_path / "b", resident="never")
    assert outcomes(piped["search"]) == outcomes(found["search"])
    assert piped["weights_digest"] == found["weights_digest"]
    # Another set, or other passes of it, is another search.
    with pytest.raises(StaleArtifactError, match="distillation_set.passes is 2, not 1"):
        ask(tmp_path / "a", passes=1, resident="never")


@pytest.mark.slow
def test_teachers_and_their_ensemble(image_data, tmp_path):
    pins = {"filters_1": 32, "filters_2": 64, "filters_3": 128, "dense": 512}
    settings = {"kind": "teacher", "space": spaces.teacher().fix(pins)}
    found = run(image_data, tmp_path, **settings)
    every = record.trials(found["search"])
    for trial in every:
        card = cards.read_card(trial["folder"] / "model.keras")
        assert card["val_accuracy"] == trial["val_accuracy"]
        assert card["kind"] == "teacher"
    paths = searches.teachers_found(found["search"])
    assert len(paths) == 3
    joined = ensemble.run(
        paths, data=image_data, workdir=tmp_path, select="top", size=2
    )
    ranked = sorted(every, key=lambda t: (-t["val_accuracy"], str(t["folder"])))
    best = [str(trial["folder"] / "model.keras") for trial in ranked[:2]]
    assert joined["members"] == best and joined["candidates"] == paths


def test_other_folders_have_no_teachers(image_data, tmp_path):
    with pytest.raises(UserError, match="no folder of a search for teachers"):
        searches.teachers_found(tmp_path)
    identity = asking.identity(asked(), image_data, {})
    with runs.RunDirectory(tmp_path / "students", identity) as students:
        pass
    with pytest.raises(UserError, match="no folder of a search for teachers"):
        searches.teachers_found(students.path)


@pytest.mark.slow
def test_two_devices(image_data, tmp_path, trained):
    """Every trial of a search trains on two parts of the processor."""
    strategies, build = [], trials.training.built

    with pytest.MonkeyPatch.context() as patched:

        def watching(*what):
            made = build(*what)
            strategies.append(made.distribute_strategy.num_replicas_in_sync)
            return made

        patched.setattr(training, "built", watching)
        with devices.using("cpu:2"):
            found = run(image_data, tmp_path / "two")
    assert strategies == [2, 2, 2]
    one = run(image_data, tmp_path / "one")
    for ours, theirs in zip(
        outcomes(found["search"]), outcomes(one["search"]), strict=True
    ):
        assert ours[:2] == theirs[:2]  # the same trials; sums differ in the last bits
    assert 0 <= found["test_accuracy"] <= 1


def main(workdir: str) -> None:
    """The killed process: a search on digits, a baseline's epoch of about a second."""
    data = datasets.load("digits", quick=True)
    space = spaces.baseline(budget=Budget(20_000), **SHAPE, num_classes=10)
    shared = {"family": {}, "max_trials": 5, "oracle": "gp"}
    searches.on_labels(
        Search(kind="baseline", space=space, finish=finish, **shared),
        data=data,
        workdir=workdir,
    )


def process(workdir: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, __file__, str(workdir)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_a_process_killed_again_and_again(tmp_path):
    whole = process(tmp_path / "whole")
    assert whole.wait(timeout=300) == 0
    kills = 0
    for wait in (14, 17, 20, 23, 26, 300, 300):
        parts = process(tmp_path / "parts")
        try:
            parts.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            parts.send_signal(signal.SIGKILL)
            parts.wait()
            kills += 1
            continue
        assert parts.returncode == 0
        break
    assert kills
    found = [next((tmp_path / n).glob("baseline-search-*")) for n in ("whole", "parts")]
    whole, parts = (runs.read_json(folder / "results.json") for folder in found)
    assert outcomes(found[0]) == outcomes(found[1])
    for name in ("weights_digest", "test_accuracy", "best_trial", "trials"):
        assert whole[name] == parts[name]


if __name__ == "__main__":
    main(sys.argv[1])
