"""Every shell in Keras' hands: it does as Keras' models do, or says why it does not.

A new situation is one line of `REFUSED`, `MADE_WRONGLY`, `COMPILED_WRONGLY` or
`MONITORED`, a new shell one of `SHELLS`. The file also runs on JAX, from within itself.
"""

import functools
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasdistill.errors import UserError
from kerasdistill.objectives import Ban
from kerasdistill.training import born_again_models as again
from kerasdistill.training import distillation_models as models

CLASSES, COUNT = 3, 12
ON_JAX = keras.backend.backend() == "jax"
SHELLS = {
    "hard": models.HardLabelModel,
    "regression": models.LogitRegressionModel,
    "kd": functools.partial(
        models.KnowledgeDistillationModel, temperature=2.0, alpha=0.5
    ),
    "student": lambda student, **options: models.StudentModel(
        student, Ban(temperature=3.0), **options
    ),
    "ban": again.BornAgainModel,
    "ban+l": functools.partial(again.BornAgainWithLabelsModel, label_weight=0.5),
    "cwtm": again.ConfidenceWeightedModel,
    "dkpp": functools.partial(
        again.PermutedPredictionsModel, permutation="fixed", seed=3
    ),
}
QUICK = ("regression", "kd", "cwtm")
each_shell = pytest.mark.parametrize(
    "kind",
    [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in SHELLS],
)


def student(units=CLASSES, seed=1):
    start = keras.initializers.GlorotUniform(seed=seed)
    steps = [layers.Flatten(), layers.Dense(units, kernel_initializer=start)]
    return keras.Sequential([keras.Input((2, 2, 1)), *steps])


def made(kind, network=None, *, rate=0.01, **options):
    shell = SHELLS[kind](network or student(), **options)
    shell.compile(keras.optimizers.SGD(rate))
    return shell


def columns(classes=CLASSES):
    generator = np.random.default_rng(0)
    return {
        "image": generator.integers(0, 9, (COUNT, 2, 2, 1)).astype("uint8"),
        "teacher_logits": generator.normal(size=(COUNT, classes)).astype("float32"),
        "label": generator.integers(0, CLASSES, COUNT).astype("int32"),
    }


def dataset(data=None):
    return tf.data.Dataset.from_tensor_slices(data or columns()).batch(5)


def pairs():
    return dataset().map(lambda batch: (batch["image"], batch["teacher_logits"]))


def endless(batches):
    while True:
        yield from batches


def logits_of(shell):
    return shell.predict(columns()["image"], verbose=0)


def assert_same_weights(one, other, **tolerance):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 0, "atol": 0, **tolerance})


# What is done with a shell, and what the one line names.
REFUSED = {
    "pairs": (lambda s: s.fit(pairs(), verbose=0), "tuple of 2.*image"),
    "triples": (
        lambda s: s.fit(pairs().map(lambda x, y: (x, y, y)), verbose=0),
        "tuple of 3.*image",
    ),
    "images alone": (
        lambda s: s.fit(pairs().map(lambda x, y: x), verbose=0),
        "Tensor.*image",
    ),
    "arrays x and y": (
        lambda s: s.fit(columns()["image"], columns()["label"], verbose=0),
        "tuple of 2.*image",
    ),
    "a generator of pairs": (
        lambda s: s.fit(endless(pairs()), steps_per_epoch=1, shuffle=False, verbose=0),
        "tuple of 2.*image",
    ),
    "validation pairs": (
        lambda s: s.fit(dataset(), validation_data=pairs(), verbose=0),
        "tuple of 2.*image",
    ),
    "scored pairs": (lambda s: s.evaluate(pairs(), verbose=0), "tuple of 2.*image"),
    "a batch and targets": (
        lambda s: s.train_on_batch(columns(), columns()["label"]),
        "tuple of 2.*image",
    ),
    "another name": (
        lambda s: s.evaluate({"images": columns()["image"]}, verbose=0),
        "'images'.*'image'",
    ),
    "nothing to score by": (
        lambda s: s.evaluate({"image": columns()["image"]}, verbose=0),
        "'image'.*'label'",
    ),
    "a key is missing": (
        lambda s: s.fit({"image": columns()["image"]}, verbose=0),
        "image.*also needs",
    ),
    "more classes than outputs": (
        lambda s: s.fit(dataset(columns(CLASSES + 4)), verbose=0),
        "3.*7",
    ),
    "one class": (lambda s: s.fit(dataset(columns(1)), verbose=0), "3.*1"),
    "scored with other classes": (
        lambda s: s.evaluate(dataset(columns(CLASSES + 4)), verbose=0),
        "3.*7",
    ),
    "labels out of range": (
        lambda s: s.fit({**columns(), "label": np.arange(COUNT)}, verbose=0),
        "0 to 11.*0 to 2.*3 outputs",
    ),
    "a column of labels": (
        lambda s: s.fit({**columns(), "label": columns()["label"][:, None]}, verbose=0),
        "'label'.*1",
    ),
    "a column of weights": (
        lambda s: s.fit(columns(), sample_weight=np.ones((COUNT, 1)), verbose=0),
        "'weight'.*1",
    ),
    "class_weight without labels": (
        lambda s: s.fit(pairs().map(lambda x, y: {"image": x}), class_weight={0: 2.0}),
        "class_weight.*label",
    ),
    "class_weight and a generator": (
        lambda s: s.fit(endless(dataset()), class_weight={0: 2.0}),
        "class_weight.*generator",
    ),
    "sample_weight and a Dataset": (
        lambda s: s.fit(dataset(), sample_weight=np.ones(COUNT)),
        "sample_weight.*Dataset",
    ),
}


@each_shell
@pytest.mark.parametrize("situation", REFUSED)
def test_refused_in_one_line(kind, situation):
    act, words = REFUSED[situation]
    shell = made(kind)
    before = shell.student.get_weights()
    with pytest.raises(UserError, match=words) as refusal:
        act(shell)
    assert "\n" not in str(refusal.value)
    if ON_JAX:
        return  # Keras' trainer there keeps no weights of a fit that fails
    for one, other in zip(before, shell.student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(ON_JAX, reason="JAX takes labels out of range for none")
def test_labels_out_of_range_in_a_dataset():
    data = dataset({**columns(), "label": np.arange(COUNT)})
    with pytest.raises(UserError, match="0 to 2.*3 outputs"):
        made("hard").fit(data, verbose=0)


def two_outputs():
    image = keras.Input((2, 2, 1))
    flat = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(3)(flat), layers.Dense(3)(flat)])


def maps():
    return keras.Sequential([keras.Input((2, 2, 1)), layers.Conv2D(3, 1)])


MADE_WRONGLY = {
    "maps": (lambda: (maps(), None), "2, 2, 3"),
    "two outputs": (lambda: (two_outputs(), None), "one output"),
    "an input of no shape": (
        lambda: (keras.Sequential([layers.Dense(3)]), None),
        "keras.Input",
    ),
    "a teacher of more": (lambda: (student(), student(7)), "3.*7"),
}


@each_shell
@pytest.mark.parametrize("situation", MADE_WRONGLY)
def test_refused_at_construction(kind, situation):
    build, words = MADE_WRONGLY[situation]
    network, teacher = build()
    with pytest.raises(UserError, match=words):
        SHELLS[kind](network, teacher=teacher)


COMPILED_WRONGLY = {
    "loss": ({"optimizer": "sgd", "loss": "mse"}, "given loss"),
    "metrics": ({"optimizer": "sgd", "metrics": ["accuracy"]}, "given metrics"),
    "weighted": ({"optimizer": "sgd", "weighted_metrics": ["accuracy"]}, "weighted"),
    "loss_weights": ({"optimizer": "sgd", "loss_weights": [1.0]}, "loss_weights"),
    "no optimizer": ({}, "optimizer"),
}


@each_shell
@pytest.mark.parametrize("situation", COMPILED_WRONGLY)
def test_refused_by_compile(kind, situation):
    options, words = COMPILED_WRONGLY[situation]
    with pytest.raises(UserError, match=words):
        SHELLS[kind](student()).compile(**options)


MONITORED = {
    "val_loss": keras.ops.less,
    "loss": keras.ops.less,
    "val_accuracy": keras.ops.greater,
    "accuracy": keras.ops.greater,
    "val_teacher_agreement": keras.ops.greater,
}


@each_shell
def test_trained_saved_and_loaded(kind, tmp_path):
    shell = made(kind, clip_norm=0.5)
    watches = {m: keras.callbacks.EarlyStopping(m, patience=9) for m in MONITORED}
    best, weights = str(tmp_path / "best.keras"), str(tmp_path / "last.weights.h5")
    callbacks = [
        *watches.values(),
        keras.callbacks.ReduceLROnPlateau("val_accuracy"),
        keras.callbacks.ModelCheckpoint(best, "val_accuracy", save_best_only=True),
        keras.callbacks.ModelCheckpoint(weights, save_weights_only=True),
    ]
    options = {"validation_data": dataset(), "callbacks": callbacks}
    shell.fit(dataset(), epochs=2, verbose=0, **options)
    assert {m: each.monitor_op for m, each in watches.items()} == MONITORED
    restored = SHELLS[kind](student(seed=2))
    restored.load_weights(weights)
    assert_same_weights(restored.student, shell.student)
    assert type(keras.saving.load_model(best)) is type(shell)
    # The whole shell, which goes on with its training.
    shell.save(tmp_path / "shell.keras")
    loaded = keras.saving.load_model(tmp_path / "shell.keras", safe_mode=True)
    assert loaded.objective == shell.objective
    assert (loaded.seed, loaded.clip_norm) == (shell.seed, 0.5)
    np.testing.assert_array_equal(logits_of(loaded), logits_of(shell))
    expected = shell.fit(dataset(), verbose=0).history["loss"]
    found = loaded.fit(dataset(), verbose=0).history["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert_same_weights(loaded.student, shell.student, atol=1e-6)


@each_shell
def test_used_before_any_training(kind, capsys):
    shell, data = made(kind), columns()
    expected = shell.student.predict(data["image"], verbose=0)
    for found in (shell(data), shell(data["image"]), logits_of(shell)):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    batched = shell.predict(dataset(), verbose=0)
    np.testing.assert_allclose(batched, expected, atol=1e-6)
    assert shell.count_params() == shell.student.count_params() == 15
    shell.summary()
    assert "Total params: 15" in capsys.readouterr().out
    labels = np.argmax(expected, axis=1)
    only = {"image": data["image"], "label": labels}
    scores = shell.evaluate(only, verbose=0, return_dict=True)
    assert scores["accuracy"] == 1.0 and "teacher_agreement" not in scores
    assert "loss" in shell.train_on_batch(data, return_dict=True)


@each_shell
@pytest.mark.parametrize("form", ["dict", "Dataset"])
def test_class_weight_is_the_examples_weight(kind, form):
    data, by_class = columns(), {0: 2.0, 2: 0.0}
    by_hand = np.array([2.0, 1.0, 0.0], "float32")[data["label"]]
    weighted, given = made(kind), made(kind)
    options = {"shuffle": False, "verbose": 0}
    if form == "dict":
        half = np.full(COUNT, 0.5)
        options |= {"batch_size": 5}
        expected = weighted.fit({**data, "weight": 0.5 * by_hand}, **options)
        options |= {"class_weight": by_class, "sample_weight": half}
        found = given.fit(data, **options)
    else:
        expected = weighted.fit(dataset({**data, "weight": by_hand}), **options)
        found = given.fit(dataset(data), class_weight=by_class, **options)
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-6)
    assert_same_weights(given.student, weighted.student, atol=1e-7)


@each_shell
def test_gradients_are_clipped(kind):
    # One step of plain descent at rate 1 is as long as the gradient.
    norm, lengths = 1e-3, []
    for clip_norm in (None, norm):
        shell = made(kind, rate=1.0, clip_norm=clip_norm)
        before = shell.student.get_weights()
        shell.fit(columns(), batch_size=COUNT, verbose=0)
        moves = zip(before, shell.student.get_weights(), strict=True)
        lengths.append(np.sqrt(sum(np.square(a - b).sum() for a, b in moves)))
    assert lengths[0] > 2 * norm and lengths[1] == pytest.approx(norm, rel=1e-3)


@pytest.mark.skipif(not ON_JAX, reason="TensorFlow's step clips, whatever comes after")
def test_elsewhere_the_optimizer_clips():
    optimizer = keras.optimizers.SGD(1.0)
    shell = models.HardLabelModel(student(), clip_norm=2.0)
    shell.compile(optimizer)
    assert shell.optimizer.global_clipnorm == 2.0 and optimizer.global_clipnorm is None
    with pytest.raises(UserError, match="clip_norm 2.0"):
        shell.compile(keras.optimizers.SGD(1.0, clipnorm=3.0))


def test_an_objective_that_nobody_knows_is_not_saved(tmp_path):
    class Own(Ban):
        name = "own"

    shell = models.StudentModel(student(), Own())
    with pytest.raises(UserError, match="model.student.save"):
        shell.save(tmp_path / "shell.keras")


@pytest.mark.slow
@pytest.mark.skipif(
    ON_JAX or importlib.util.find_spec("jax") is None, reason="jax is not installed"
)
def test_all_this_on_jax():
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", __file__],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout[-3000:]
