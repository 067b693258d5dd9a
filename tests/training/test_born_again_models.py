import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import losses
from kerasdistill.errors import UserError
from kerasdistill.models.fast_layers import BatchNormalization
from kerasdistill.training.born_again_models import (
    BornAgainModel,
    BornAgainWithLabelsModel,
    ConfidenceWeightedModel,
    PermutedPredictionsModel,
)

CLASSES = 4
SHELLS = {
    "ban": BornAgainModel,
    "ban+l": functools.partial(BornAgainWithLabelsModel, label_weight=0.5),
    "cwtm": ConfidenceWeightedModel,
    "dkpp": functools.partial(PermutedPredictionsModel, seed=3),
    "dkpp, fixed": functools.partial(PermutedPredictionsModel, permutation="fixed"),
}


def network(seed=1, *, norm=False):
    """4x4x1 pixels -> convolution -> logits; always the same weights of a seed."""

    def start(layer):
        return keras.initializers.GlorotUniform(seed=10 * seed + layer)

    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(3, 3, kernel_initializer=start(1)),
        *([BatchNormalization(synchronized=True)] if norm else []),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(CLASSES, kernel_initializer=start(2)),
    ]
    return keras.Sequential(layers)


def columns(count, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "image": generator.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8),
        "teacher_logits": generator.normal(0, 2, (count, CLASSES)).astype(np.float32),
        "label": generator.integers(0, CLASSES, count),
        "sample_id": np.arange(count) + 100,
    }


def dataset(data, batch_size=8):
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)


def fitted(make_shell, data, *, strategy=None, steps=20, norm=False, teacher=None):
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        options = {} if teacher is None else {"teacher": teacher()}
        shell = make_shell(network(norm=norm), **options)
        shell.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True))
    history = shell.fit(dataset(data).repeat().take(steps), verbose=0)
    return shell, history.history


def assert_same_weights(one, other, tolerance):
    pairs = zip(one.student.get_weights(), other.student.get_weights(), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def by_hand(name, batch, logits, step):
    """The loss of a batch, written with TensorFlow's own losses."""
    teacher, labels = batch["teacher_logits"], batch["label"]
    hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if name == "cwtm":
        weights = tf.reduce_max(tf.nn.softmax(teacher), axis=1)
        return tf.reduce_sum(hard * weights) / tf.reduce_sum(weights)
    if name.startswith("dkpp"):
        which = {"seed": 3, "step": step} if name == "dkpp" else {"seed": 0, "step": 0}
        ids = batch["sample_id"] * (name == "dkpp")
        keys = losses.shuffle_keys(ids, classes=CLASSES, **which)
        teacher = losses.permuted_others(teacher, keys)
    soft = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(teacher), logits)
    return tf.reduce_mean(soft + 0.5 * hard if name == "ban+l" else soft)


@pytest.mark.parametrize("name", SHELLS)
def test_equals_a_plain_loop(name):
    data, model = columns(19), network()
    speeds = [tf.zeros_like(v) for v in model.trainable_variables]
    for step, batch in enumerate(dataset(data).repeat().take(5)):
        with tf.GradientTape() as tape:
            loss = by_hand(name, batch, model(batch["image"], training=True), step)
        slopes = tape.gradient(loss, model.trainable_variables)
        for index, variable in enumerate(model.trainable_variables):
            speeds[index] = 0.9 * speeds[index] - 0.05 * slopes[index]
            variable.assign_add(0.9 * speeds[index] - 0.05 * slopes[index])
    shell, _ = fitted(SHELLS[name], data, steps=5)
    for a, b in zip(shell.student.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


# 17 and 19 examples: the replicas' shares of the last batch are unequal.
@pytest.mark.parametrize(("name", "count"), [("cwtm", 17), ("dkpp", 19)])
def test_one_and_two_replicas_give_the_same_weights(name, count, two_replicas):
    data = columns(count)
    single, alone = fitted(SHELLS[name], data)
    double, together = fitted(SHELLS[name], data, strategy=two_replicas)
    assert_same_weights(single, double, 1e-6)
    for key in alone:
        np.testing.assert_allclose(alone[key], together[key], rtol=1e-5, err_msg=key)


def test_two_replicas_normalise_and_ask_a_live_teacher_as_one(two_replicas):
    data = columns(16)
    del data["teacher_logits"]
    teacher = functools.partial(network, seed=2, norm=True)
    options = {"norm": True, "teacher": teacher}
    single, _ = fitted(SHELLS["cwtm"], data, **options)
    double, _ = fitted(SHELLS["cwtm"], data, strategy=two_replicas, **options)
    assert_same_weights(single, double, 1e-4)


@pytest.mark.parametrize("name", [pytest.param("ban", marks=pytest.mark.slow), "cwtm"])
def test_a_live_teacher_says_what_stored_logits_say_and_stays_as_it_is(name):
    data, teacher = columns(16), network(seed=2, norm=True)
    teacher(np.random.default_rng(0).normal(size=(9, 4, 4, 1)), training=True)
    before = teacher.get_weights()
    data["teacher_logits"] = teacher(data["image"], training=False).numpy()
    stored, expected = fitted(SHELLS[name], data, steps=4)
    del data["teacher_logits"]
    live, found = fitted(SHELLS[name], data, steps=4, teacher=lambda: teacher)
    assert_same_weights(stored, live, 1e-6)
    assert set(found) == set(expected) == {"loss", "accuracy", "teacher_agreement"}
    for key in found:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-5, err_msg=key)
    for a, b in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(v.trainable for v in teacher.trainable_variables)
    assert len(live.trainable_variables) == len(live.student.trainable_variables)


def test_the_reported_loss_of_cwtm_is_the_weighted_mean():
    data = columns(19)
    shell = ConfidenceWeightedModel(network())
    shell.compile(keras.optimizers.SGD(0.0))
    found = shell.evaluate(dataset(data), return_dict=True, verbose=0)
    logits = network()(data["image"])
    expected = by_hand("cwtm", data, logits, 0)
    assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-5)
    hits = np.argmax(logits, axis=1) == data["label"]
    assert float(found["accuracy"]) == pytest.approx(hits.mean())


@pytest.mark.parametrize(
    ("name", "key"),
    [("ban", "teacher_logits"), ("cwtm", "label"), ("dkpp", "sample_id")],
)
def test_missing_columns_are_named(name, key):
    data = columns(8)
    del data[key]
    with pytest.raises(UserError, match=f"also needs '{key}'"):
        fitted(SHELLS[name], data, steps=1)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (BornAgainModel, {"temperature": 0.0}, "temperature 0.0"),
        (BornAgainWithLabelsModel, {"label_weight": -1.0}, "weights -1.0 and 1.0"),
        (PermutedPredictionsModel, {"permutation": "odd"}, "'odd'"),
    ],
)
def test_bad_options(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind(network(), **options)
