import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import losses

LOG2, LOG3 = np.log(2.0), np.log(3.0)
# softmax(student) is (1/2, 1/4, 1/4) and (1/4, 1/4, 1/2); softmax(teacher) is
# (1/3, 1/3, 1/3) and (3/5, 1/5, 1/5).
STUDENT = np.array([[LOG2, 0.0, 0.0], [1.0, 1.0, 1.0 + LOG2]])
TEACHER = np.array([[5.0, 5.0, 5.0], [LOG3, 0.0, 0.0]])
LABELS = np.array([0, 1])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def drawn(seed=0, batch=7, classes=5, spread=3.0):
    generator = np.random.default_rng(seed)
    student, teacher = generator.normal(0.0, spread, (2, batch, classes))
    return generator.integers(0, classes, batch), teacher, student


def gradient(loss, student):
    logits = tf.constant(student, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(logits))
    return tape.gradient(total, logits).numpy()


def close(actual, expected, tolerance=2e-6):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_hard_label_by_hand():
    close(losses.hard_label(LABELS, STUDENT), [LOG2, 2 * LOG2])


def test_logit_regression_by_hand_sums_over_classes():
    student = [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    teacher = [[1.0, 0.0, 6.0], [0.5, 0.0, -1.0]]
    close(losses.logit_regression(teacher, student), [13.0, 1.25])


def test_soft_cross_entropy_by_hand():
    # 1/3 log 2 + 2/3 log 4 and (3/5 + 1/5) log 4 + 1/5 log 2
    expected = [5 / 3 * LOG2, 9 / 5 * LOG2]
    close(losses.soft_cross_entropy(TEACHER, STUDENT), expected)


def test_soft_cross_entropy_by_hand_at_temperature_2():
    doubled = losses.soft_cross_entropy(2 * TEACHER, 2 * STUDENT, temperature=2.0)
    close(doubled, [5 / 3 * LOG2, 9 / 5 * LOG2])


def test_knowledge_distillation_by_hand():
    # alpha T^2 = 3 and 1 - alpha = 1/4
    loss = losses.knowledge_distillation(
        LABELS, 2 * TEACHER, 2 * STUDENT, temperature=2.0, alpha=0.75
    )
    # softmax(2 z) is (4, 1, 1)/6 and (1, 1, 4)/6
    hard = np.array([np.log(6 / 4), np.log(6)])
    close(loss, 3 * np.array([5 / 3, 9 / 5]) * LOG2 + 0.25 * hard)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_closed_forms_in_float64(temperature):
    labels, teacher, student = drawn()
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    soft = -(p * np.log(q)).sum(axis=1)
    hard = -np.log(softmax(student)[np.arange(7), labels])
    close(losses.hard_label(labels, student), hard, 1e-5)
    close(
        losses.logit_regression(teacher, student),
        ((student - teacher) ** 2).sum(axis=1),
        1e-5,
    )
    close(
        losses.soft_cross_entropy(teacher, student, temperature=temperature),
        soft,
        1e-5,
    )
    close(
        losses.knowledge_distillation(
            labels, teacher, student, temperature=temperature, alpha=0.3
        ),
        0.3 * temperature**2 * soft + 0.7 * hard,
        1e-5,
    )


def test_gradient_of_hard_label():
    labels, _, student = drawn()
    expected = softmax(student) - np.eye(5)[labels]
    close(gradient(lambda z: losses.hard_label(labels, z), student), expected)


def test_gradient_of_logit_regression():
    _, teacher, student = drawn()
    found = gradient(lambda z: losses.logit_regression(teacher, z), student)
    close(found, 2 * (student - teacher), 1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_of_soft_cross_entropy(temperature):
    _, teacher, student = drawn()
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    found = gradient(
        lambda z: losses.soft_cross_entropy(teacher, z, temperature=temperature),
        student,
    )
    close(found, (q - p) / temperature)


def test_gradient_of_knowledge_distillation():
    labels, teacher, student = drawn()
    p, q = softmax(teacher / 3.0), softmax(student / 3.0)
    found = gradient(
        lambda z: losses.knowledge_distillation(
            labels, teacher, z, temperature=3.0, alpha=0.8
        ),
        student,
    )
    hard = softmax(student) - np.eye(5)[labels]
    close(found, 0.8 * 3.0 * (q - p) + 0.2 * hard, 1e-5)


def test_teacher_gets_no_part_in_the_argument_order():
    _, teacher, student = drawn()
    forward = losses.soft_cross_entropy(teacher, student).numpy()
    assert not np.allclose(forward, losses.soft_cross_entropy(student, teacher))


def test_without_soft_targets_it_is_the_hard_label_loss():
    labels, teacher, student = drawn()
    kd = losses.knowledge_distillation(
        labels, teacher, student, temperature=4.0, alpha=0.0
    )
    close(kd, losses.hard_label(labels, student))


def test_labels_are_not_looked_at_when_alpha_is_1():
    labels, teacher, student = drawn()
    one = losses.knowledge_distillation(labels, teacher, student, temperature=2.0)
    other = losses.knowledge_distillation(None, teacher, student, temperature=2.0)
    np.testing.assert_array_equal(one, other)
    close(one, 4.0 * losses.soft_cross_entropy(teacher, student, temperature=2.0))


def test_own_teacher_gives_the_entropy_and_no_gradient():
    _, _, student = drawn()
    p = softmax(student)
    loss = losses.soft_cross_entropy(student, student)
    close(loss, -(p * np.log(p)).sum(axis=1), 1e-5)
    found = gradient(lambda z: losses.soft_cross_entropy(student, z), student)
    close(found, np.zeros_like(p))


def test_at_high_temperature_it_matches_logits():
    # Hinton et al. (2015), section 2.1: with centred logits T^2 times the soft
    # term's gradient tends to (z - t) / classes, which is that of the squared
    # distance divided by 2 classes.
    _, teacher, student = drawn(spread=1.0)
    teacher -= teacher.mean(axis=1, keepdims=True)
    student -= student.mean(axis=1, keepdims=True)
    matching = gradient(lambda z: losses.logit_regression(teacher, z), student) / 10
    distances = []
    for temperature in (1.0, 10.0, 100.0):
        found = gradient(
            lambda z, t=temperature: losses.knowledge_distillation(
                None, teacher, z, temperature=t
            ),
            student,
        )
        distances.append(np.abs(found - matching).max())
    assert distances[0] > 5 * distances[1] > 25 * distances[2]
    assert distances[2] < 0.01 * np.abs(matching).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_computed_in_float32(dtype):
    labels, teacher, student = drawn()
    teacher, student = (tf.cast(40 * logits, dtype) for logits in (teacher, student))
    exact = (tf.cast(teacher, tf.float32), tf.cast(student, tf.float32))
    for loss in (
        lambda t, z: losses.hard_label(labels, z),
        losses.logit_regression,
        losses.soft_cross_entropy,
        lambda t, z: losses.knowledge_distillation(labels, t, z, alpha=0.5),
    ):
        low = loss(teacher, student)
        assert low.dtype == tf.float32
        assert np.isfinite(low).all()
        np.testing.assert_array_equal(low, loss(*exact))


def test_large_logits_stay_finite():
    teacher, student = [[1e4, -1e4]], [[-1e4, 1e4]]
    close(losses.hard_label([0], student), [2e4])
    close(losses.soft_cross_entropy(teacher, student), [2e4])


def test_same_top_1_and_correct():
    logits = np.array([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    np.testing.assert_array_equal(losses.same_top_1(logits, -logits), [0.0, 0.0])
    np.testing.assert_array_equal(losses.same_top_1(logits, 5 * logits), [1.0, 1.0])
    np.testing.assert_array_equal(losses.correct([1, 2], logits), [1.0, 0.0])
