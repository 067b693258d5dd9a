"""Python on the how-to pages that does something of its own."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import losses
from kerasdistill.exports import language as language_export
from kerasdistill.exports import saved_model as export
from kerasdistill.models import language
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.training import keras_losses
from pipelines import distillation_set

from .conftest import ROOT


def run_block(blocks, page: str, containing: str, **names) -> dict:
    """Runs the page's one Python block with this text in it; returns its names."""
    found = [
        text
        for kind, text in blocks(ROOT / "docs" / "how-to" / page)
        if kind == "python" and containing in text
    ]
    (text,) = found
    exec(compile(text, page, "exec"), names)
    return names


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with my_student.keras in it, where a set of 24 views can be opened."""
    monkeypatch.chdir(tmp_path)
    linear(0).save("my_student.keras")
    monkeypatch.setattr(distillation_set, "open", Stored)
    return tmp_path


class Stored:
    """What the pages ask of a distillation set."""

    def __init__(self, path: str):
        assert path == "runs/precompute-…/distillation_set"
        generator = np.random.default_rng(0)
        self.batch = {
            "image": generator.integers(0, 256, (24, 4, 4, 3), np.uint8),
            "teacher_logits": generator.normal(size=(24, 3)).astype("f4"),
            "label": np.arange(24) % 3,
            "sample_id": np.arange(24),
        }

    def dataset(self, *, batch_size: int) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(self.batch).batch(batch_size)


def linear(seed: int) -> keras.Model:
    start = keras.initializers.GlorotUniform(seed)
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_initializer=start),
        ]
    )


def test_any_network_learns_from_a_set(blocks, here):
    run_block(blocks, "own-teacher.md", "LogitRegressionModel")
    learned = keras.saving.load_model("distilled.keras", safe_mode=True)
    assert not np.allclose(learned.get_weights()[0], linear(0).get_weights()[0])


def test_keras_own_trainer_learns_from_a_set(blocks, here):
    names = run_block(blocks, "keras.md", "SoftTargets(temperature")
    batch, before = names["stored"].batch, linear(0)
    with tf.GradientTape() as tape:
        soft = losses.ban(
            batch["teacher_logits"], before(batch["image"]), temperature=4.0
        )
        loss = tf.reduce_mean(soft)
    steps = tape.gradient(loss, before.trainable_variables)
    ends = [w - 0.01 * g for w, g in zip(before.get_weights(), steps, strict=True)]
    for found, end in zip(names["student"].get_weights(), ends, strict=True):
        np.testing.assert_allclose(found, end, atol=1e-6)

    names = run_block(blocks, "keras.md", "import with_labels", **names)
    (pairs,) = names["pairs"]
    np.testing.assert_array_equal(pairs[1][:, :3], batch["teacher_logits"])
    np.testing.assert_array_equal(pairs[1][:, 3], batch["label"])
    student = names["student"]
    student.compile("sgd", loss=keras_losses.BanWithLabels())
    assert np.isfinite(student.evaluate(names["pairs"], verbose=0))


def test_a_distiller_has_hinton_s_loss(blocks):
    models = {"teacher": linear(1), "student": linear(0)}
    distiller = run_block(blocks, "keras.md", "Distiller(", **models)["distiller"]
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", loss=cross_entropy)
    batch = Stored("runs/precompute-…/distillation_set").batch
    images, labels = batch["image"].astype("f4"), batch["label"]
    expected = losses.knowledge_distillation(
        labels, linear(1)(images), linear(0)(images), temperature=2.0, alpha=0.75
    )
    seen = distiller.fit(images, labels, batch_size=24, verbose=0).history
    np.testing.assert_allclose(seen["total_loss"], [np.mean(expected)], rtol=1e-5)


def test_a_model_made_in_a_strategy_s_scope_learns(
    blocks, here, two_replicas, monkeypatch
):
    # A second one in the process would share the first one's collective instances.
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: two_replicas)
    names = run_block(blocks, "gpus.md", "strategy.scope()")
    stored = Stored("runs/precompute-…/distillation_set")
    seen = names["model"].fit(stored.dataset(batch_size=9), epochs=2, verbose=0).history
    assert seen["loss"][1] < seen["loss"][0]


def test_an_export_answers(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = Stored("runs/precompute-…/distillation_set").batch["image"]
    model, path = linear(0), "saved_models/digits-1m"
    export.export_saved_model(model, path, card={}, images=images)
    found = run_block(blocks, "exports.md", "saved_model.load", images=images)
    np.testing.assert_allclose(found["logits"], model(images), atol=1e-5)


def test_a_language_model_s_export_answers(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("<eos>", "<unk>", "cat", "sat", "the")
    network = Lstm(units=4, layers=1, dropout_rate=0.0)
    model = language.build(network, words=words)
    served = language_export.Served(model, words, end=0, unknown=1)
    folder = "runs/language-model-…/saved_model"
    tf.saved_model.save(served, folder, signatures=served.ways)
    found = run_block(blocks, "language-models.md", "serving_default")["found"]
    ids = tf.constant([[0, 4, 2, 3, 1, 4]])  # <eos> the cat sat on the
    logits, *_ = model([ids, *language.start(model, 1)])
    expected = keras.ops.log_softmax(logits[:, -1])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_oracle_serves_a_tuner_of_keras_tuner_s(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def build(hyperparameters):
        units = hyperparameters.Int("units", 1, 8)
        return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])

    tuner = run_block(blocks, "search.md", "keras_tuner.Tuner", build=build)["tuner"]
    trial = tuner.oracle.create_trial("tuner0")
    assert 1 <= trial.hyperparameters.get("units") <= 8
    tuner.oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
    trial.status = "COMPLETED"
    tuner.oracle.end_trial(trial)
    assert tuner.oracle.get_best_trials(1)[0].score == 0.5
