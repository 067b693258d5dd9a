import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.training.distillation_models import (
    HardLabelModel,
    KnowledgeDistillationModel,
    LogitRegressionModel,
)

CLASSES = 3
KD = functools.partial(KnowledgeDistillationModel, temperature=2.0, alpha=0.7)
SHELLS = {"hard": HardLabelModel, "regression": LogitRegressionModel, "kd": KD}


def student(*, l2=0.0, precision="float32", dropout_rate=0.0):
    """4x4x1 pixels -> 6 ReLU units -> 3 float32 logits; always the same weights."""
    penalty = keras.regularizers.L2(l2) if l2 else None

    def dense(units, seed, **options):
        start = keras.initializers.GlorotUniform(seed=seed)
        return keras.layers.Dense(
            units, kernel_initializer=start, kernel_regularizer=penalty, **options
        )

    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255, dtype="float32"),
            keras.layers.Flatten(dtype=precision),
            dense(6, 1, activation="relu", dtype=precision),
            keras.layers.Dropout(dropout_rate, seed=3, dtype=precision),
            dense(CLASSES, 2, dtype="float32"),
        ]
    )


def columns(count, seed=0):
    generator = np.random.default_rng(seed)
    return {
        "image": generator.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8),
        "teacher_logits": generator.normal(0, 1, (count, CLASSES)).astype(np.float32),
        "label": generator.integers(0, CLASSES, count),
        "sample_id": np.arange(count),
    }


def dataset(data, batch_size=8):
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)


def nesterov(learning_rate=0.05, momentum=0.9):
    return keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=True)


def fitted(make_shell, data, *, strategy=None, steps=20, **options):
    """(shell, history) after `steps` steps over endlessly repeated ragged epochs."""
    strategy = strategy or tf.distribute.get_strategy()
    with strategy.scope():
        shell = make_shell(student(**options))
        shell.compile(optimizer=nesterov())
    history = shell.fit(dataset(data).repeat().take(steps), verbose=0)
    return shell, history.history


def logits_of(model, images):
    return model(images, training=False).numpy()


def assert_same_weights(one, other, tolerance=1e-5):
    for a, b in zip(
        one.student.get_weights(), other.student.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def by_hand(shell_name, labels, teacher, logits):
    """The loss of each example, written with TensorFlow's own losses."""
    if shell_name == "regression":
        return tf.reduce_sum((logits - teacher) ** 2, axis=1)
    hard = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if shell_name == "hard":
        return hard
    soft = tf.nn.softmax_cross_entropy_with_logits(
        tf.nn.softmax(teacher / 2.0), logits / 2.0
    )
    return 0.7 * 4.0 * soft + 0.3 * hard


@pytest.mark.parametrize("name", SHELLS)
def test_equals_a_plain_loop(name):
    data, model = columns(19), student(l2=0.01)
    speeds = [tf.zeros_like(v) for v in model.trainable_variables]
    for batch in dataset(data).repeat().take(8):
        with tf.GradientTape() as tape:
            logits = model(batch["image"], training=True)
            each = by_hand(name, batch["label"], batch["teacher_logits"], logits)
            kernels = [v for v in model.trainable_variables if len(v.shape) == 2]
            penalty = 0.01 * sum(tf.reduce_sum(kernel**2) for kernel in kernels)
            loss = tf.reduce_mean(each) + penalty
        slopes = tape.gradient(loss, model.trainable_variables)
        for index, variable in enumerate(model.trainable_variables):
            speeds[index] = 0.9 * speeds[index] - 0.05 * slopes[index]
            variable.assign_add(0.9 * speeds[index] - 0.05 * slopes[index])
    shell, _ = fitted(SHELLS[name], data, l2=0.01, steps=8)
    for a, b in zip(shell.student.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


# 16, 17 and 19 examples: 0, 1 and an odd number modulo the batch of 8.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param("regression", 16, marks=pytest.mark.slow),  # clipped below
        ("kd", 17),
        ("hard", 19),
    ],
)
def test_one_and_two_replicas_give_the_same_weights(name, count, two_replicas):
    data = columns(count)
    single, alone = fitted(SHELLS[name], data, l2=0.01)
    double, together = fitted(SHELLS[name], data, l2=0.01, strategy=two_replicas)
    assert_same_weights(single, double)
    assert set(alone) == set(together) > {"loss", "accuracy"}
    for key in alone:
        np.testing.assert_allclose(alone[key], together[key], rtol=1e-5, err_msg=key)


def clipped(student, **options):
    return LogitRegressionModel(student, clip_norm=0.5, **options)


def test_one_step_moves_no_further_than_the_clip_norm_allows():
    data = columns(8)
    free, _ = fitted(LogitRegressionModel, data, steps=1)
    shell, _ = fitted(clipped, data, steps=1)
    start = student().get_weights()

    def step(after):
        moves = zip(after.student.get_weights(), start, strict=True)
        return np.concatenate([(a - b).ravel() for a, b in moves])

    # Nesterov's first step: (1 + momentum) * learning rate * gradient.
    assert np.linalg.norm(step(free)) > 1.9 * 0.05 * 0.5
    assert np.linalg.norm(step(shell)) == pytest.approx(1.9 * 0.05 * 0.5, rel=1e-4)
    cosine = step(free) @ step(shell) / np.linalg.norm(step(free))
    assert cosine / np.linalg.norm(step(shell)) == pytest.approx(1, rel=1e-5)


def test_clipping_is_the_same_on_two_replicas(two_replicas):
    data = columns(19)
    single, _ = fitted(clipped, data)
    double, _ = fitted(clipped, data, strategy=two_replicas)
    assert_same_weights(single, double)


def test_every_replica_has_an_example_in_every_batch(two_replicas):
    class Looking(LogitRegressionModel):
        def per_example_loss(self, batch, logits):
            here = tf.shape(logits)[0]
            with tf.control_dependencies([tf.debugging.assert_positive(here)]):
                return super().per_example_loss(batch, logits)

    # The last training batch has one example, so has the only one of validation.
    with two_replicas.scope():
        shell = Looking(student())
        shell.compile(optimizer=nesterov())
    history = shell.fit(
        dataset(columns(9)), validation_data=dataset(columns(1)), verbose=0
    )
    assert {"loss", "val_loss"} <= set(history.history)


@pytest.mark.parametrize("replicas", [1, 2])
def test_regularisation_is_added_once(replicas, two_replicas):
    # The student is its own teacher, so that the penalty alone moves it.
    data = columns(7)
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        shell = LogitRegressionModel(student(l2=0.01))
        shell.compile(optimizer=keras.optimizers.SGD(1.0))
    data["teacher_logits"] = logits_of(shell.student, data["image"])
    before = shell.student.get_weights()
    shell.fit(dataset(data), verbose=0)
    for a, b in zip(before, shell.student.get_weights(), strict=True):
        factor = 1 - 2 * 0.01 if a.ndim == 2 else 1
        np.testing.assert_allclose(b, factor * a, rtol=0, atol=1e-6)


def test_weights_of_zero_leave_examples_out(two_replicas):
    data = columns(10)
    more = {key: np.concatenate([value, value[:6]]) for key, value in data.items()}
    more["weight"] = np.repeat([1.0, 0.0], [10, 6]).astype(np.float32)
    plain, logs = fitted(KD, data, steps=2)
    weighted, weighted_logs = fitted(KD, more, strategy=two_replicas, steps=2)
    assert_same_weights(plain, weighted, 1e-6)
    for key in logs:
        np.testing.assert_allclose(logs[key], weighted_logs[key], rtol=1e-5)


@pytest.mark.parametrize(
    ("replicas", "with_teacher", "count"),
    [
        (1, False, 9),
        (2, True, 9),
        pytest.param(1, True, 7, marks=pytest.mark.slow),
        pytest.param(2, False, 7, marks=pytest.mark.slow),
    ],
)
def test_evaluate_counts_every_example(replicas, with_teacher, count, two_replicas):
    data = columns(count)
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        shell = LogitRegressionModel(student())
        shell.compile(optimizer=nesterov())
    logits = logits_of(student(), data["image"])
    expected = {"accuracy": np.mean(np.argmax(logits, axis=1) == data["label"])}
    if with_teacher:
        teacher = data["teacher_logits"]
        same = np.argmax(logits, axis=1) == np.argmax(teacher, axis=1)
        squares = np.sum((logits - teacher) ** 2, axis=1)
        expected |= {"teacher_agreement": np.mean(same), "loss": np.mean(squares)}
    else:
        del data["teacher_logits"]
    # With batches of 4 the last one gives the replicas unequal shares.
    found = shell.evaluate(dataset(data, 4), return_dict=True, verbose=0)
    found = {
        name: float(value) for name, value in found.items()
    }  # older Keras: tensors
    assert found == pytest.approx(expected, rel=1e-5)


def test_history_covers_the_epoch_and_the_whole_validation_split(two_replicas):
    data, validation = columns(19), columns(9, seed=1)
    del validation["teacher_logits"]
    with two_replicas.scope():
        shell = LogitRegressionModel(student())
        shell.compile(optimizer=keras.optimizers.SGD(0.0))
    history = shell.fit(
        dataset(data), validation_data=dataset(validation, 4), verbose=0
    ).history
    logits = logits_of(student(), data["image"])
    loss = np.mean(np.sum((logits - data["teacher_logits"]) ** 2, axis=1))
    np.testing.assert_allclose(history["loss"], loss, rtol=1e-5)
    val_logits = logits_of(student(), validation["image"])
    accuracy = np.mean(np.argmax(val_logits, axis=1) == validation["label"])
    np.testing.assert_allclose(history["val_accuracy"], accuracy, rtol=1e-6)


def test_dropout_trains_on_two_replicas(two_replicas):
    shell, history = fitted(
        KD, columns(17), strategy=two_replicas, steps=3, dropout_rate=0.5
    )
    assert np.isfinite(history["loss"]).all()
    (state,) = shell.student.non_trainable_variables
    assert list(state.numpy()) == [3, 3]  # seed 3, drawn from once a step


@pytest.mark.parametrize("replicas", [1, 2])
def test_float16_scales_the_loss_and_unscales_the_gradients(replicas, two_replicas):
    strategy = two_replicas if replicas == 2 else None
    data = columns(8)
    half, _ = fitted(KD, data, precision="mixed_float16", steps=1, strategy=strategy)
    full, _ = fitted(KD, data, steps=1)
    assert isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(full.optimizer, keras.optimizers.LossScaleOptimizer)
    assert int(half.optimizer.iterations.numpy()) == 1
    moved = 0.0
    start = student().get_weights()
    weights = (start, full.student.get_weights(), half.student.get_weights())
    for before, expected, found in zip(*weights, strict=True):
        np.testing.assert_allclose(found - before, expected - before, atol=2e-4)
        moved = max(moved, np.abs(expected - before).max())
    assert moved > 5e-3


def test_float16_keeps_gradients_that_would_vanish():
    # An error of 2e-5 in 512 examples has gradients of 1e-7: below float16's least
    # normal number, and as parts of a sum far below its least number at all.
    data = columns(512)
    teacher = logits_of(student(precision="mixed_float16"), data["image"])
    data["teacher_logits"] = teacher - np.float32(2e-5)
    shells = []
    for precision in ("mixed_float16", "float32"):
        shell = LogitRegressionModel(student(precision=precision))
        shell.compile(optimizer=keras.optimizers.SGD(1000.0))
        shell.fit(dataset(data, 512), verbose=0)
        shells.append(shell)
    half, full = (s.student.get_weights()[1] for s in shells)
    assert np.count_nonzero(half) == np.count_nonzero(full) > 0


@pytest.mark.parametrize("replicas", [1, 2])
def test_float16_overflow_on_any_replica_skips_the_step(replicas, two_replicas):
    data = columns(8)
    data["teacher_logits"][6] = 1e6  # in the second replica's share
    strategy = two_replicas if replicas == 2 else None
    shell, _ = fitted(
        LogitRegressionModel,
        data,
        precision="mixed_float16",
        steps=1,
        strategy=strategy,
    )
    for a, b in zip(student().get_weights(), shell.student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(shell.optimizer.dynamic_scale.numpy()) == 2.0**14
    assert int(shell.optimizer.iterations.numpy()) == 0


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_logits_and_losses_stay_float32(precision):
    data = columns(8)
    shell, history = fitted(KD, data, precision=precision, steps=3)
    logits = shell(data["image"])
    assert logits.dtype == tf.float32
    assert shell.per_example_loss(data, logits).dtype == tf.float32
    assert shell.loss_metric.result().dtype == tf.float32
    assert {v.dtype for v in shell.student.trainable_variables} == {"float32"}
    reference, expected = fitted(KD, data, steps=3)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=2e-2)
    assert_same_weights(shell, reference, 2e-2)


@pytest.mark.parametrize("make_shell", [LogitRegressionModel, KD])
def test_batches_without_teacher_logits_are_refused_by_name(make_shell):
    data = columns(4)
    del data["teacher_logits"]
    with pytest.raises(UserError, match="it also needs 'teacher_logits'"):
        fitted(make_shell, data)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"alpha": 1.5}])
def test_temperature_and_alpha_out_of_range(settings):
    with pytest.raises(UserError, match="expected temperature > 0 and alpha between"):
        KnowledgeDistillationModel(student(), **settings)


def test_used_as_any_keras_model():
    data = columns(17)
    del data["sample_id"], data["label"]
    model = LogitRegressionModel(student())
    model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True))
    first = model.fit(dataset(data), epochs=5, verbose=0).history["loss"]
    assert first[-1] < first[0]
    logits = model.student.predict(data["image"], verbose=0)
    np.testing.assert_allclose(model(data["image"]), logits, atol=1e-6)


def test_the_student_alone_is_saved(tmp_path):
    shell, _ = fitted(KD, columns(8), steps=1)
    shell.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    images = columns(5)["image"]
    np.testing.assert_array_equal(
        logits_of(loaded, images), logits_of(shell.student, images)
    )
