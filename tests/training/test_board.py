"""The pictures, and every curve at the right place with the right value."""

import csv
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kerasdistill.models import urban
from kerasdistill.recipes.base import Augmentation, Student, Training
from kerasdistill.training.board import grid, titles, write_views
from kerasdistill.training.distillation_models import (
    HardLabelModel,
    LogitRegressionModel,
)
from kerasdistill.training.fit import fit
from pipelines.views import live_views

CNN = Student(filters=(3,), hidden=(6,), bottleneck=None, kernel=3)
TRAINING = Training(
    learning_rate=1e-3, momentum=0.9, batch_size=16, schedule="cosine", epochs=2
)


def read(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def curve(found, tag) -> list[tuple[int, float]]:
    events = found.Tensors(tag)
    return [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events]


def with_logits(batches):
    def add(batch):
        return {**batch, "teacher_logits": tf.one_hot(batch["label"], 3)}

    return lambda first_epoch: batches(first_epoch).map(add)


def train(directory, data, *, taught, training=TRAINING):
    """Rows of metrics.csv of a tiny training on `data`."""
    live = live_views.stream(
        data.train, augmentation=Augmentation(min_crop=6), seed=5, batch_size=16
    )
    logits = None
    if taught:
        logits = np.eye(3, dtype="float32")[data.validation.labels] * 9.0
        logits[::2] = np.roll(logits[::2], 1, axis=1)  # a teacher that errs
        live = dataclasses.replace(live, batches=with_logits(live.batches))
    model = urban.build(CNN, image_shape=(8, 8, 3), num_classes=3, seed=0)
    shell = LogitRegressionModel if taught else HardLabelModel
    result = fit(
        shell(model),
        train=live,
        validation=live_views.for_scoring(
            data.validation, teacher_logits=logits, batch_size=4
        ),
        training=training,
        directory=directory,
        class_names=data.class_names,
    )
    with open(directory / "metrics.csv", newline="") as file:
        return result, model, logits, list(csv.DictReader(file))


def test_the_grid_holds_every_picture_in_order():
    images = np.arange(10, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (10, 4, 5, 3))
    sheet = grid(images)
    assert sheet.shape == (2 * 6 - 2, 8 * 7 - 2, 3)
    assert (sheet[:4, :5] == 0).all() and (sheet[6:, 7:12] == 9).all()
    assert (sheet[:4, 49:] == 7).all()
    assert (sheet[4:6] == 255).all() and (sheet[6:, 14:] == 255).all()
    one = grid(np.full((1, 4, 5, 1), 300.0))
    assert one.shape == (4, 5, 1) and (one == 255).all()


def test_titles_follow_the_rows():
    names = titles(np.array([0, 1, 1, 0, 1, 1, 1, 1, 0, -1]), ("cat", "dog"))
    assert names.splitlines() == [
        "1. cat, dog, dog, cat, dog, dog, dog, dog",
        "2. cat, ?",
    ]
    assert titles(np.array([0]), ()) == "" and titles(np.empty(0, int), ("cat",)) == ""


def test_views_are_written_once_and_without_labels_too(tmp_path):
    batch = {"image": np.zeros((70, 8, 8, 3), np.uint8)}
    write_views(tmp_path, batch)
    write_views(tmp_path, batch)
    assert len(list(tmp_path.iterdir())) == 1
    found = read(tmp_path)
    (event,) = found.Tensors("views of the first batch")
    width, height, png = event.tensor_proto.string_val
    assert (width, height) == (b"78", b"78") and png.startswith(b"\x89PNG")


def test_a_student_shows_agreement_on_both_splits(image_data, tmp_path, capsys):
    result, model, logits, rows = train(tmp_path, image_data, taught=True)
    told = capsys.readouterr().err
    for name in ("teacher_agreement", "val_teacher_agreement"):
        assert told.count(f" {name} ") == 2
    train_side = read(tmp_path / "tensorboard" / "train")
    held_out = read(tmp_path / "tensorboard" / "validation")
    expected = {
        "epoch_teacher_agreement": (train_side, "teacher_agreement"),
        "epoch_loss": (train_side, "loss"),
        "learning_rate": (train_side, "learning_rate"),
    }
    for tag, (found, column) in expected.items():
        wanted = [float(row[column]) for row in rows]
        np.testing.assert_allclose(
            curve(found, tag), list(enumerate(wanted, start=1)), rtol=1e-6
        )
    for tag, column in (
        ("epoch_teacher_agreement", "val_teacher_agreement"),
        ("epoch_loss", "val_loss"),
        ("epoch_accuracy", "val_accuracy"),
    ):
        wanted = [float(row[column]) for row in rows]
        np.testing.assert_allclose(
            curve(held_out, tag), list(enumerate(wanted, start=1)), rtol=1e-6
        )
    best = rows[result.best_epoch - 1]
    answers = model.predict(image_data.validation.images, verbose=0).argmax(1)
    agreeing = np.mean(answers == logits.argmax(1))
    assert float(best["val_teacher_agreement"]) == pytest.approx(agreeing)
    right = np.mean(answers == image_data.validation.labels)
    assert float(best["val_accuracy"]) == pytest.approx(right)
    assert "views of the first batch" in train_side.Tags()["tensors"]


def test_hard_labels_have_no_agreement(image_data, tmp_path, capsys):
    _, _, _, rows = train(tmp_path, image_data, taught=False)
    assert "teacher_agreement" not in capsys.readouterr().err
    assert not [name for name in rows[0] if "agreement" in name]
    tags = read(tmp_path / "tensorboard" / "train").Tags()["tensors"]
    assert "learning_rate" in tags and "epoch_teacher_agreement" not in tags


def test_the_curve_has_the_rate_the_epoch_was_trained_at(image_data, tmp_path):
    # So slow that nothing improves: the rate is halved after epoch 11.
    flat = dataclasses.replace(
        TRAINING, learning_rate=1e-7, schedule="paper", epochs=12
    )
    train(tmp_path, image_data, taught=False, training=flat)
    rates = curve(read(tmp_path / "tensorboard" / "train"), "learning_rate")
    assert [step for step, _ in rates] == list(range(1, 13))
    np.testing.assert_allclose(
        [rate / 1e-7 for _, rate in rates], [1.0] * 11 + [0.5], rtol=1e-5
    )
