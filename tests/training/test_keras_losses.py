"""Keras' own trainers get the losses' values, and what they save loads again."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from kerasdistill import losses
from kerasdistill.errors import UserError
from kerasdistill.training import distillation_models, keras_losses

TEACHER = np.array([[4.0, 1.0, -2.0], [0.5, 3.0, 0.0], [1.0, 1.0, 2.0]], "f4")
STUDENT = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0], [3.0, 0.0, 0.5]], "f4")
LABELS = np.array([0, 1, 1])


def divergence(temperature):
    """T^2 KL(p || q), by NumPy: the mean over the batch."""
    p = softmax(TEACHER / temperature, axis=1)
    log_ratio = log_softmax(TEACHER / temperature, axis=1)
    log_ratio = log_ratio - log_softmax(STUDENT / temperature, axis=1)
    return temperature**2 * np.mean(np.sum(p * log_ratio, axis=1))


def entropy(temperature):
    p = softmax(TEACHER / temperature, axis=1)
    return temperature**2 * np.mean(
        -np.sum(p * log_softmax(TEACHER / temperature, axis=1), axis=1)
    )


def test_the_stock_default_is_wrong_and_ours_is_not():
    ours = keras_losses.SoftTargetsDistillation(temperature=3.0)
    found = float(ours.compute_loss(TEACHER, STUDENT)) - entropy(3.0)
    assert found == pytest.approx(divergence(3.0), rel=1e-5)
    stock = keras.distillation.LogitsDistillation(temperature=3.0)
    wrong = float(stock.compute_loss(TEACHER, STUDENT))
    # By its documentation: the divergence of softened probabilities, times T^2.
    explained = keras.distillation.LogitsDistillation(
        temperature=3.0, loss=keras.losses.KLDivergence()
    )
    right = float(explained.compute_loss(TEACHER, STUDENT))
    assert right == pytest.approx(divergence(3.0), rel=1e-4)
    assert abs(wrong - right) > 0.5 * right
    # And where the student is the teacher up to a constant, only ours knows it.
    shifted = TEACHER - 5.0
    found = float(ours.compute_loss(TEACHER, shifted)) - entropy(3.0)
    assert found == pytest.approx(0.0, abs=1e-5)
    assert abs(float(stock.compute_loss(TEACHER, shifted))) > 1.0


def test_distillation_losses_have_the_papers_values():
    loss = keras_losses.LogitRegressionDistillation()
    expected = np.mean(np.sum((TEACHER - STUDENT) ** 2, axis=1))
    assert float(loss.compute_loss(TEACHER, STUDENT)) == pytest.approx(expected)
    # Of three classes, the two that are not the largest change places, or do not.
    teacher, student = TEACHER[:1], STUDENT[:1]
    possible = [
        float(losses.ban(teacher[:, order], student)[0])
        for order in ([0, 1, 2], [0, 2, 1])
    ]
    shuffled = [keras_losses.PermutedDistillation(seed=seed) for seed in range(8)]
    found = [float(each.compute_loss(teacher, student)) for each in shuffled]
    nearest = [np.argmin(np.abs(np.subtract(possible, value))) for value in found]
    np.testing.assert_allclose(found, np.take(possible, nearest), rtol=1e-6)
    assert set(nearest) == {0, 1}
    shuffled = shuffled[1]
    again = type(shuffled).from_config(shuffled.get_config())
    assert (again.seed, again.temperature) == (1, 1.0)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (
            keras_losses.KnowledgeDistillation(temperature=2.0, alpha=0.3),
            lambda: losses.knowledge_distillation(
                LABELS, TEACHER, STUDENT, temperature=2.0, alpha=0.3
            ),
        ),
        (
            keras_losses.BanWithLabels(label_weight=0.5, temperature=2.0),
            lambda: losses.ban_plus_labels(
                LABELS, TEACHER, STUDENT, label_weight=0.5, temperature=2.0
            ),
        ),
    ],
)
def test_losses_with_labels_are_the_functions_means(loss, expected):
    targets = keras_losses.with_labels(TEACHER, LABELS)
    expected = float(np.mean(expected()))
    assert float(loss(targets, STUDENT)) == pytest.approx(expected, rel=1e-6)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(targets, STUDENT)) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="with_labels"):
        loss(TEACHER, STUDENT)


def test_cwtm_is_weighted_by_teacher_max():
    weights = softmax(TEACHER, axis=1).max(axis=1)
    values = -log_softmax(STUDENT, axis=1)[np.arange(3), LABELS]
    targets = keras_losses.with_labels(TEACHER, LABELS)
    found = float(keras_losses.ConfidenceWeighted()(targets, STUDENT))
    assert found == pytest.approx(np.sum(weights * values) / weights.sum(), rel=1e-6)
    # As saved and loaded, the temperature still smooths the weights alone.
    loss = keras_losses.ConfidenceWeighted(temperature=3.0, name="sure")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert (again.temperature, again.name) == (3.0, "sure")
    weights = softmax(TEACHER / 3.0, axis=1).max(axis=1)
    expected = np.sum(weights * values) / weights.sum()
    assert float(again(targets, STUDENT)) == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(found, rel=1e-3)


def test_bad_settings_are_refused():
    for make in (
        lambda: keras_losses.SoftTargets(temperature=0.0),
        lambda: keras_losses.SoftTargetsDistillation(-1.0),
        lambda: keras_losses.KnowledgeDistillation(alpha=2.0),
        lambda: keras_losses.BanWithLabels(label_weight=-1.0),
    ):
        with pytest.raises(UserError, match="was given|were given"):
            make()


def linear(seed):
    dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Ones())
    model = keras.Sequential([keras.Input((4,)), dense])
    model.set_weights([np.random.default_rng(seed).normal(size=(4, 3)), np.zeros(3)])
    return model


def test_a_distiller_trains_with_them_and_loads_again(tmp_path):
    distiller = keras.distillation.Distiller(
        linear(0),
        linear(1),
        [keras_losses.SoftTargetsDistillation(2.0)],
        student_loss_weight=0.25,
    )
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.1), loss=cross_entropy)
    x = np.random.default_rng(2).normal(size=(8, 4)).astype("f4")
    labels = np.arange(8) % 3
    expected = losses.knowledge_distillation(
        labels, linear(0)(x), linear(1)(x), temperature=2.0, alpha=0.75
    )
    history = distiller.fit(x, labels, batch_size=8, epochs=20, verbose=0).history
    first = history["total_loss"][0]
    assert first == pytest.approx(float(np.mean(expected)), rel=1e-5)
    assert history["total_loss"][-1] < first
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras", compile=False)
    assert again.distillation_losses[0].get_config() == {"temperature": 2.0}
    np.testing.assert_array_equal(again(x), distiller(x))


def test_a_compiled_student_loads_with_its_loss(tmp_path):
    student = linear(1)
    student.compile("sgd", loss=keras_losses.SoftTargets(temperature=4.0))
    x = np.random.default_rng(2).normal(size=(8, 4)).astype("f4")
    targets = linear(0)(x)
    expected = float(np.mean(losses.ban(targets, student(x), temperature=4.0)))
    assert student.evaluate(x, targets, verbose=0) == pytest.approx(expected, rel=1e-6)
    student.save(tmp_path / "student.keras")
    again = keras.saving.load_model(tmp_path / "student.keras", safe_mode=True)
    assert again.evaluate(x, targets, verbose=0) == pytest.approx(expected, rel=1e-6)
    student.compile("sgd", loss=keras_losses.LogitRegression())
    expected = float(np.mean(losses.logit_regression(targets, student(x))))
    assert student.evaluate(x, targets, verbose=0) == pytest.approx(expected, rel=1e-6)
    student.save(tmp_path / "student.keras")
    again = keras.saving.load_model(tmp_path / "student.keras", safe_mode=True)
    assert isinstance(again.loss, keras_losses.LogitRegression)
    assert again.evaluate(x, targets, verbose=0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        keras_losses.LogitRegressionDistillation(),
        keras_losses.SoftTargetsDistillation(2.0),
        keras_losses.PermutedDistillation(seed=3, temperature=2.0),
    ],
)
def test_distillation_losses_are_the_same_from_their_config(loss):
    form = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(form)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    values = [float(each.compute_loss(TEACHER, STUDENT)) for each in (loss, again)]
    assert values[0] == values[1]


def test_born_again_with_labels_is_twice_a_distiller_s_loss():
    distiller = keras.distillation.Distiller(
        linear(0),
        linear(1),
        [keras_losses.SoftTargetsDistillation()],
        student_loss_weight=0.5,
    )
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(loss=cross_entropy)
    x = np.random.default_rng(2).normal(size=(8, 4)).astype("f4")
    labels = np.arange(8) % 3
    found = float(distiller.compute_loss(x, labels, linear(1)(x)))
    expected = losses.ban_plus_labels(labels, linear(0)(x), linear(1)(x))
    assert 2 * found == pytest.approx(float(np.mean(expected)), rel=1e-6)


def test_a_shells_student_is_saved_alone(tmp_path):
    shell = distillation_models.LogitRegressionModel(linear(1))
    shell.compile("sgd")
    x = np.random.default_rng(2).normal(size=(8, 4)).astype("f4")
    shell.fit({"image": x, "teacher_logits": linear(0)(x)}, verbose=0)
    shell.student.save(tmp_path / "student.keras")
    again = keras.saving.load_model(tmp_path / "student.keras", safe_mode=True)
    np.testing.assert_array_equal(again(x), shell(x))
