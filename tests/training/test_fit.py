"""Run as a script (see `main`), this file is the process that a test kills."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import evaluation
from kerasdistill.errors import DivergedError, StaleArtifactError, UserError
from kerasdistill.models import urban
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes.base import (
    Augmentation,
    BornAgainTraining,
    Student,
    Training,
)
from kerasdistill.training.distillation_models import HardLabelModel
from kerasdistill.training.epochs import EpochStream
from kerasdistill.training.fit import fit
from pipelines.datasets import Examples
from pipelines.views import live_views

ROOT = Path(__file__).resolve().parents[2]
CNN = Student(
    filters=(3, 4),
    hidden=(6,),
    bottleneck=None,
    kernel=3,
    dropout_rates=(0.2, 0.2, 0.3),
    weight_decay=1e-3,
)
COSINE = Training(
    learning_rate=0.05, momentum=0.9, batch_size=16, schedule="cosine", epochs=4
)
# So slow that no epoch improves on the first: A6's flat curve.
FLAT = dataclasses.replace(COSINE, learning_rate=1e-7, schedule="paper", epochs=None)
CLOCKS = {"seconds", "train_seconds"}


def drawn(count, *, side=8, first_id=0):
    generator = np.random.default_rng([count, first_id])
    labels = np.arange(count) % 3
    images = generator.integers(0, 160, (count, side, side, 3)).astype(np.uint8)
    images[np.arange(count), :, :, labels] += 90
    return Examples(images, labels, np.arange(first_id, first_id + count))


TRAIN, VALIDATION = drawn(41), drawn(15, first_id=100)


def stream(examples=TRAIN, batch_size=16):
    augmentation = Augmentation(min_crop=examples.images.shape[1] - 2)
    return live_views.stream(
        examples, augmentation=augmentation, seed=5, batch_size=batch_size
    )


def dying(healthy: EpochStream, *, after_steps: int) -> EpochStream:
    """The same data, but reading on after so many batches fails."""

    def fail(batch):
        never = tf.debugging.assert_less(batch["label"], tf.zeros([], tf.int64))
        with tf.control_dependencies([never]):
            return {key: tf.identity(value) for key, value in batch.items()}

    def batches(first_epoch):
        data = healthy.batches(first_epoch)
        return data.take(after_steps).concatenate(data.map(fail))

    return dataclasses.replace(healthy, batches=batches)


def train(directory, training, *, data=None, precision="float32", enough=None):
    """(model, result) of the small CNN with Dropout, in its best epoch."""
    model = urban.build(
        CNN, image_shape=(8, 8, 3), num_classes=3, seed=0, precision=precision
    )
    result = fit(
        HardLabelModel(model),
        train=data or stream(),
        validation=live_views.for_scoring(VALIDATION, batch_size=4),
        training=training,
        directory=directory,
        enough=enough,
    )
    return model, result


def table(directory):
    with open(directory / "metrics.csv", newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in CLOCKS}
            for row in csv.DictReader(file)
        ]


def arrays(path):
    with np.load(path) as members:
        return {key: members[key] for key in members.files if key != "state"}


def assert_same_run(one, other):
    (one_dir, one_model, one_result), (other_dir, other_model, other_result) = (
        one,
        other,
    )
    assert weights_digest(one_model) == weights_digest(other_model)
    assert table(one_dir) == table(other_dir)
    assert one_result.best_epoch == other_result.best_epoch
    last = arrays(one_dir / "checkpoints" / "last.npz")
    other_last = arrays(other_dir / "checkpoints" / "last.npz")
    assert last.keys() == other_last.keys()
    for key, value in last.items():  # weights, momenta, steps, Dropout's seeds
        np.testing.assert_array_equal(value, other_last[key])


@pytest.mark.engine
# Three steps an epoch: step 8 lies in the middle of the third.
@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_interrupted_cosine_training_ends_bit_equal(tmp_path, precision):
    training = dataclasses.replace(COSINE, precision=precision)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(whole, training, precision=precision)
    with pytest.raises(tf.errors.InvalidArgumentError):
        train(parts, training, data=dying(stream(), after_steps=7), precision=precision)
    assert len(table(parts)) == 2
    resumed = train(parts, training, precision=precision)
    assert [row["epoch"] for row in table(parts)] == ["1", "2", "3", "4"]
    assert resumed[1].epochs == expected[1].epochs == 4
    assert_same_run((whole, *expected), (parts, *resumed))


@pytest.mark.slow
def test_paper_schedule_resumes_and_ends_by_itself(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(whole, FLAT)
    rates = [float(row["learning_rate"]) / 1e-7 for row in table(whole)]
    np.testing.assert_allclose(
        rates, [1.0] * 11 + [0.5] * 9 + [0.25] * 9 + [0.125] * 2, rtol=1e-6
    )
    # Between the first and the second halving.
    with pytest.raises(tf.errors.InvalidArgumentError):
        train(parts, FLAT, data=dying(stream(), after_steps=3 * 14 + 1))
    assert len(table(parts)) == 14
    assert_same_run((whole, *expected), (parts, *train(parts, FLAT)))
    # The first epoch was the best: its weights came back, not the last ones.
    once, result = train(tmp_path / "once", dataclasses.replace(FLAT, epochs=1))
    assert (expected[1].best_epoch, expected[1].epochs) == (1, 31)
    assert weights_digest(once) == weights_digest(expected[0])
    last = arrays(whole / "checkpoints" / "last.npz")
    assert not np.array_equal(last["0000"], once.weights[0].numpy())
    assert result.val_score == expected[1].val_score


def test_nothing_is_kept_of_data_that_were_not_what_they_should_be(tmp_path):
    def check():
        raise StaleArtifactError("shard a was replaced")

    changed = dataclasses.replace(stream(), check=check)
    with pytest.raises(StaleArtifactError, match="shard a"):
        train(tmp_path, COSINE, data=changed)
    assert not list(tmp_path.rglob("*.npz"))


def test_result_describes_the_returned_weights(tmp_path):
    model, result = train(tmp_path, COSINE)
    accuracies = [row["val_accuracy"] for row in result.history]
    assert result.val_score == pytest.approx(max(accuracies))
    assert result.best_epoch == 1 + accuracies.index(max(accuracies))
    logits = evaluation.predict(model, VALIDATION.images)
    scored = evaluation.accuracy(logits, VALIDATION.labels)
    assert result.val_score == pytest.approx(scored)
    assert result.images_per_second > 0
    assert result.seconds >= sum(row["train_seconds"] for row in result.history)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"best-{result.best_epoch:05d}.npz", "last.npz"]
    assert list((tmp_path / "tensorboard").rglob("*.tfevents.*"))


def test_cosine_rates(tmp_path):
    _, result = train(tmp_path, dataclasses.replace(COSINE, epochs=3))
    rates = [row["learning_rate"] for row in result.history]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_interrupted_stepped_training_goes_on(tmp_path):
    options = {"epochs": 3, "milestones": (0.5, 0.75), "decay": 0.1}
    stepped = BornAgainTraining(0.05, 0.9, batch_size=16, **options)
    with pytest.raises(tf.errors.InvalidArgumentError):
        train(tmp_path, stepped, data=dying(stream(), after_steps=4))
    assert len(table(tmp_path)) == 1
    _, result = train(tmp_path, stepped)
    assert result.epochs == 3
    rates = [row["learning_rate"] for row in result.history]
    np.testing.assert_allclose(rates, [0.05, 0.005, 0.0005], rtol=1e-6)
    with pytest.raises(StaleArtifactError, match="milestones"):
        train(tmp_path, dataclasses.replace(stepped, milestones=(0.5,)))


def test_stepped_rates_fall_after_fractions_of_the_epochs(tmp_path):
    options = {"epochs": 4, "milestones": (0.5, 0.75), "decay": 0.1}
    stepped = BornAgainTraining(0.05, 0.9, batch_size=16, **options)
    _, result = train(tmp_path, stepped)
    rates = [row["learning_rate"] for row in result.history]  # of the step to come
    assert rates == pytest.approx([0.05, 0.005, 0.0005, 0.0005])
    with pytest.raises(UserError, match="steps schedule needs a number of epochs"):
        train(tmp_path / "b", dataclasses.replace(stepped, epochs=None))


def test_finished_training_is_found_again(tmp_path):
    one_epoch = dataclasses.replace(COSINE, epochs=1)
    model, result = train(tmp_path, one_epoch)
    # As if killed after the last checkpoint and before its row.
    (tmp_path / "metrics.csv").unlink()
    again, found = train(tmp_path, one_epoch)
    assert found == result
    assert weights_digest(again) == weights_digest(model)
    assert len(table(tmp_path)) == 1


def test_enough_ends_a_training_and_one_that_was_killed_before_it_could(tmp_path):
    def after_two(history):
        assert history[-1]["epoch"] == len(history)
        return len(history) == 2

    _, result = train(tmp_path / "whole", COSINE, enough=after_two)
    assert result.epochs == 2
    with pytest.raises(tf.errors.InvalidArgumentError):
        train(tmp_path / "parts", COSINE, data=dying(stream(), after_steps=7))
    resumed = train(tmp_path / "parts", COSINE, enough=after_two)[1]
    assert (resumed.epochs, resumed.best_epoch) == (2, result.best_epoch)
    assert table(tmp_path / "parts") == table(tmp_path / "whole")


@pytest.mark.engine
def test_diverged(tmp_path):
    training = dataclasses.replace(COSINE, learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at step [23] \(ep"):
        train(tmp_path, training)
    assert not (tmp_path / "checkpoints").exists()


def test_cosine_needs_epochs(tmp_path):
    with pytest.raises(UserError, match="cosine schedule needs a number of epochs"):
        train(tmp_path, dataclasses.replace(COSINE, epochs=None))


def test_refuses_what_it_cannot_resume_from(tmp_path):
    one_epoch = dataclasses.replace(COSINE, epochs=1)
    train(tmp_path, one_epoch)
    with pytest.raises(StaleArtifactError, match="with epochs 1, not 2"):
        train(tmp_path, dataclasses.replace(one_epoch, epochs=2))
    path = tmp_path / "checkpoints" / "last.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StaleArtifactError, match=f"{path} is damaged"):
        train(tmp_path, one_epoch)


def main(directory: str) -> None:
    """Trains long enough to be killed; prints the weights' digest at the end."""
    model = urban.build(
        dataclasses.replace(CNN, filters=(16, 24), hidden=(64,)),
        image_shape=(32, 32, 3),
        num_classes=3,
        seed=0,
    )
    fit(
        HardLabelModel(model),
        train=stream(drawn(1200, side=32), batch_size=32),
        validation=live_views.for_scoring(drawn(60, side=32, first_id=5000)),
        training=dataclasses.replace(COSINE, batch_size=32, epochs=5),
        directory=Path(directory),
    )
    print(weights_digest(model))


def start(directory):
    path = os.pathsep.join([str(ROOT), *sys.path])
    return subprocess.Popen(
        [sys.executable, __file__, str(directory)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epoch(process, directory, epoch):
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if (directory / "metrics.csv").exists() and len(table(directory)) >= epoch:
            return
        time.sleep(0.01)
    pytest.fail(f"no {epoch} epochs: {process.communicate()[1][-2000:]}")


@pytest.mark.slow
def test_killed_training_ends_bit_equal(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    printed, errors = start(whole).communicate(timeout=300)
    assert printed, errors
    for epoch, pause in ((1, 0.3), (3, 0.15)):
        process = start(parts)
        wait_for_epoch(process, parts, epoch)
        time.sleep(pause)  # into the next epoch
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(table(parts)) < 5
    resumed, errors = start(parts).communicate(timeout=300)
    assert "resuming after epoch" in errors
    assert resumed == printed
    assert table(parts) == table(whole)
    assert [row["epoch"] for row in table(parts)] == list("12345")


if __name__ == "__main__":
    main(sys.argv[1])
