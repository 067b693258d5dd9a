"""Whole searches with tiny networks: what they leave, and how they go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill import evaluation, runs
from kerasdistill.errors import StaleArtifactError
from kerasdistill.experiments import ensemble
from kerasdistill.experiments.search import families, trials
from kerasdistill.experiments.search import story as search
from kerasdistill.exports import cards
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import reading
from kerasdistill.running import training
from kerasdistill.training import engines
from kerasdistill.training.loop import Epochs
from tuners import halving, record, spaces

from ..support import on_board
from . import search_program
from .search_program import AUGMENTATION, asked, finish, outcomes, run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("uncollected")


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
    recipe = reading.from_json(runs.read_json(found["best_recipe"]))
    assert recipe == finish(asked().space.recipe(best["values"]))
    assert reading.from_json(found["recipe"]) == recipe
    assert "trial 2 of 2: val_accuracy" in capsys.readouterr().err
    # TensorBoard's page HParams has every dimension, and every curve beside it.
    board = tmp_path / "tensorboard"
    assert found["readable_name"] == next(board.iterdir()).name
    seen = on_board.seen(board)
    assert seen.hparams == {each.name for each in asked().space.dimensions}
    assert {("", "val_accuracy"), ("validation", "epoch_accuracy")} <= seen.metrics
    for trial in ("trial-0", "trial-1"):
        tags = seen.runs[f"{found['readable_name']}/{trial}/train"]
        assert {"epoch_loss", "views of the first batch", "learning_rate"} <= tags


class Gone(BaseException):
    """As if the process were."""


@pytest.mark.slow
@pytest.mark.parametrize("oracle", ["random", "gp"])
def test_an_interrupted_trial_goes_on(oracle, image_data, tmp_path, monkeypatch):
    whole = run(image_data, tmp_path / "whole", oracle=oracle)
    epochs = []

    def dying(self):
        epochs.append(self.epoch)
        if len(epochs) == 4:  # in the second trial, whose first epoch is done
            raise Gone
        return begin(self)

    begin = Epochs.begin
    monkeypatch.setattr(Epochs, "begin", dying)
    with pytest.raises(Gone):
        run(image_data, tmp_path / "parts", oracle=oracle)
    parts = run(image_data, tmp_path / "parts", oracle=oracle)
    assert epochs == [0, 1, 0, 1, 1, 0, 1]  # no finished epoch comes again
    assert outcomes(parts["search"]) == outcomes(whole["search"])
    assert parts["weights_digest"] == whole["weights_digest"]
    assert parts["test_accuracy"] == whole["test_accuracy"]


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


@pytest.fixture
def stored(two_passes, tmp_path):
    """A set of two passes."""
    keras.utils.set_random_seed(0)
    return two_passes(tmp_path, store="replay", augmentation=AUGMENTATION)


@pytest.mark.slow
def test_students_on_a_set(image_data, stored, tmp_path):
    def ask(folder, **how):
        story = families.on_set(
            asked("student", max_trials=2, folder=str(folder)),
            data=image_data,
            workdir=tmp_path,
            given=str(stored),
            **how,
        )
        return search.run(story)

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
    paths = families.teachers_found(found["search"])
    assert len(paths) == 3
    joined = ensemble.run(
        paths, data=image_data, workdir=tmp_path, select="top", size=2
    )
    ranked = sorted(every, key=lambda t: (-t["val_accuracy"], str(t["folder"])))
    best = [str(trial["folder"] / "model.keras") for trial in ranked[:2]]
    assert joined["members"] == best and joined["candidates"] == paths


@pytest.mark.slow
def test_two_devices(image_data, tmp_path, trained):
    """Every trial of a search trains on two parts of the processor."""
    strategies, build = [], trials.training.built

    with pytest.MonkeyPatch.context() as patched:

        def watching(*what, **how):
            made = build(*what, **how)
            strategies.append(made.distribute_strategy.num_replicas_in_sync)
            return made

        patched.setattr(training, "built", watching)
        with engines.current().using("cpu:2"):
            found = run(image_data, tmp_path / "two")
    assert strategies == [2, 2, 2]
    one = run(image_data, tmp_path / "one")
    for ours, theirs in zip(
        outcomes(found["search"]), outcomes(one["search"]), strict=True
    ):
        assert ours[:2] == theirs[:2]  # the same trials; sums differ in the last bits
    assert 0 <= found["test_accuracy"] <= 1


def process(workdir: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, search_program.__file__, str(workdir)],
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
