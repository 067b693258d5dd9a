"""Language-model trainings resume bit-equal, also after a kill within an epoch.

Run as a script (see `main`), this file is the process that a test kills.
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.errors import DivergedError, StaleArtifactError
from kerasdistill.models import language
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.recipes.base import TextTraining
from kerasdistill.training.fit_text import fit_text
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.perplexity import Scorer
from kerasdistill.training.schedules import PerplexitySchedule
from pipelines.words import text

ROOT = Path(__file__).resolve().parents[2]
WORDS = tuple("abcdefgh")
TRAINING = TextTraining(
    learning_rate=1.0, batch_size=4, epochs=3, window=5, clip_norm=5.0
)
CLOCKS = {"seconds", "train_seconds"}


def tokens(count, seed):
    # A word is mostly the one before, plus one: there is something to learn.
    generator = np.random.default_rng(seed)
    steps = generator.choice([1, 3], size=count, p=[0.9, 0.1])
    return (np.cumsum(steps) % 8).astype(np.int32)


def stream():
    return text.stream(text.windows(tokens(400, 0), end=0, streams=4, length=5))


NETWORK = Lstm(units=6, layers=2, dropout_rate=0.3)


def train(directory, *, training=TRAINING, network=NETWORK, data=None, seconds=1e9):
    model = language.build(network, words=WORDS, seed=training.seed)
    shell = LanguageModel(model, streams=4, clip_norm=training.clip_norm)
    held_out = text.windows(tokens(90, 1), end=0, streams=1, length=5)
    scorer = Scorer([model])
    result = fit_text(
        shell,
        train=data or stream(),
        validate=lambda: scorer.nats(held_out)[0],
        training=training,
        directory=Path(directory),
        checkpoint_seconds=seconds,
    )
    return result, weights_digest(model)


def rows(history):
    return [{k: v for k, v in row.items() if k not in CLOCKS} for row in history]


class Stopped(Exception):
    pass


def stopping(directory, *, after):
    """Writes checkpoints as often as it can, and ends after so many steps."""
    from kerasdistill.training import fit_text as module

    ends = module.PerplexityEpochs.after_step

    def end(self, step, metrics):
        ends(self, step, metrics)
        if self.epoch * self.train.steps_per_epoch + step + 1 >= after:
            raise Stopped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module.PerplexityEpochs, "after_step", end)
        with pytest.raises(Stopped):
            train(directory, seconds=0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where `uninterrupted` was trained; tests that change it take copies."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def uninterrupted(whole):
    return train(whole)


def test_it_learns(tmp_path):
    network = Lstm(units=16, layers=1, dropout_rate=0.0)
    longer = replace(TRAINING, epochs=20)
    found, _ = train(tmp_path, training=longer, network=network)
    # Of 8 words; the text's own entropy leaves 1.4.
    assert found.history[-1]["val_perplexity"] < 3
    assert found.val_score == min(row["val_perplexity"] for row in found.history)


@pytest.mark.engine
@pytest.mark.parametrize("after", [7, 27])
def test_resume_within_an_epoch_is_exact(tmp_path, uninterrupted, after):
    stopping(tmp_path, after=after)
    result, digest = train(tmp_path)
    assert digest == uninterrupted[1]
    assert rows(result.history) == rows(uninterrupted[0].history)
    with open(tmp_path / "metrics.csv") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_finished_training_is_found(tmp_path, whole, uninterrupted):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras.Model, "fit", lambda *_, **__: pytest.fail("trained"))
        assert train(tmp_path)[1] == uninterrupted[1]


@pytest.mark.usefixtures("uninterrupted")
def test_another_recipe_is_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(StaleArtifactError, match="learning_rate"):
        train(tmp_path, training=replace(TRAINING, learning_rate=0.1))


@pytest.mark.engine
def test_divergence_is_told(tmp_path):
    broken = replace(TRAINING, learning_rate=1e30, clip_norm=None)
    with pytest.raises(DivergedError, match="step"):
        train(tmp_path, training=broken)


def test_schedule_by_hand():
    quarter, half = PerplexitySchedule(0.25, 0.0), PerplexitySchedule(0.5, 0.5)
    rates = {"quarter": [], "half": []}
    for found in (200.0, 150.0, 149.8, 149.8, 149.0):
        quarter, half = quarter.after(found), half.after(found)
        rates["quarter"].append(quarter.factor)
        rates["half"].append(half.factor)
    assert rates == {
        "quarter": [1, 1, 1, 0.25, 0.25],
        "half": [1, 1, 0.5, 0.25, 0.25],
    }
    assert (quarter.best_epoch, quarter.best_error) == (5, 149.0)


@pytest.mark.slow
def test_kill_within_an_epoch_changes_nothing(tmp_path, uninterrupted):
    process = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    checkpoint = tmp_path / "checkpoints" / "last.npz"
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result, digest = train(tmp_path)
    assert digest == uninterrupted[1]
    assert rows(result.history) == rows(uninterrupted[0].history)


def main() -> None:
    """Trains with a checkpoint after every step, slowly."""

    def slowly(batch):
        time.sleep(0.05)
        return batch

    import dataclasses

    import tensorflow as tf

    healthy = stream()

    def batches(first):
        def wait(batch):
            paused = tf.py_function(lambda: slowly(0), [], tf.int32)
            with tf.control_dependencies([paused]):
                return {key: tf.identity(value) for key, value in batch.items()}

        return healthy.batches(first).map(wait)

    train(sys.argv[1], data=dataclasses.replace(healthy, batches=batches), seconds=0.0)


if __name__ == "__main__":
    main()
