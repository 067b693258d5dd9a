"""BAN, BAN+L, CWTM and DKPP against NumPy (docs/papers/born-again.md)."""

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import losses

CLASSES = 5


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def drawn(batch=7):
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(0.0, 3.0, (2, batch, CLASSES))
    return generator.integers(0, CLASSES, batch), teacher, student


LABELS, TEACHER, STUDENT = drawn()
ONE_HOT = np.eye(CLASSES)[LABELS]
P, Q = softmax(TEACHER), softmax(STUDENT)
KEYS = np.random.default_rng(1).integers(0, 2**31 - 1, (7, CLASSES), np.int32)


def cross_entropy(targets, logits=STUDENT):
    return -np.sum(targets * np.log(softmax(logits)), axis=1)


def gradient(loss):
    logits = tf.constant(STUDENT, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        total = tf.reduce_sum(loss(logits))
    return tape.gradient(total, logits)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=3e-6, atol=3e-6)


def shuffled(probabilities):
    """The other probabilities in the order of their keys, one row at a time."""
    result = probabilities.copy()
    for row, keys in zip(result, KEYS, strict=True):
        others = np.delete(np.arange(CLASSES), row.argmax())
        row[others] = row[others[np.argsort(keys[others])]]
    return result


def test_ban():
    close(losses.ban(TEACHER, STUDENT), cross_entropy(P))
    close(gradient(lambda z: losses.ban(TEACHER, z)), Q - P)


def test_temperature_softens_both_sides_and_keeps_the_gradients_size():
    soft = softmax(TEACHER / 4)
    found = losses.ban(TEACHER, STUDENT, temperature=4.0)
    close(found, 16 * cross_entropy(soft, STUDENT / 4))
    slope = gradient(lambda z: losses.ban(TEACHER, z, temperature=4.0))
    close(slope, 4 * (softmax(STUDENT / 4) - soft))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.25, 2.0), (0.0, 1.0)])
def test_ban_plus_labels(weights):
    labels, teacher = weights

    def loss(z):
        return losses.ban_plus_labels(
            LABELS, TEACHER, z, label_weight=labels, teacher_weight=teacher
        )

    expected = labels * cross_entropy(ONE_HOT) + teacher * cross_entropy(P)
    close(loss(STUDENT), expected)
    close(gradient(loss), labels * (Q - ONE_HOT) + teacher * (Q - P))


def test_ban_plus_labels_has_both_weights_1_by_default():
    found = losses.ban_plus_labels(LABELS, TEACHER, STUDENT)
    close(found, cross_entropy(ONE_HOT) + cross_entropy(P))


def test_cwtm_weighs_labels_by_the_teachers_confidence():
    values, weights = losses.cwtm(LABELS, TEACHER, STUDENT)
    close(values, cross_entropy(ONE_HOT))
    close(weights, P.max(axis=1))
    assert (P.argmax(axis=1) != LABELS).any()  # also where the teacher is wrong
    _, soft = losses.cwtm(LABELS, TEACHER, STUDENT, temperature=3.0)
    close(soft, softmax(TEACHER / 3).max(axis=1))

    def loss(z):
        each, weight = losses.cwtm(LABELS, TEACHER, z)
        return each * weight / tf.reduce_sum(weight)

    shares = P.max(axis=1) / P.max(axis=1).sum()
    close(gradient(loss), shares[:, None] * (Q - ONE_HOT))  # eq. 10


def test_dkpp_is_ban_with_the_other_probabilities_moved():
    moved = shuffled(P)
    assert not np.allclose(moved, P)

    def loss(z):
        return losses.dkpp(TEACHER, z, keys=KEYS)

    close(loss(STUDENT), cross_entropy(moved))
    close(gradient(loss), Q - moved)
    largest = P.argmax(axis=1)
    rows = np.arange(len(P))
    close(moved[rows, largest], P[rows, largest])
    softer = losses.dkpp(TEACHER, STUDENT, keys=KEYS, temperature=2.0)
    soft = shuffled(softmax(TEACHER / 2))
    close(softer, 4 * cross_entropy(soft, STUDENT / 2))


def test_every_permutation_of_the_others_is_as_likely():
    ids = np.arange(6_000)
    keys = losses.shuffle_keys(ids, classes=4, seed=1, step=2)
    values = np.tile([10.0, 30.0, 20.0, 40.0], (len(ids), 1))
    found = np.asarray(losses.permuted_others(values, keys))
    assert (found[:, 3] == 40.0).all()
    kinds, counts = np.unique(found, axis=0, return_counts=True)
    assert len(kinds) == 6
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 20.5  # chi^2, 5 degrees, p = 0.001


def keys_by_hand(ids, *, classes, seed, step):
    """MurmurHash3's finalizer on Python's own whole numbers."""

    def mixed(bits):
        bits %= 2**32
        bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) % 2**32
        bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) % 2**32
        return bits ^ (bits >> 16)

    rows = []
    for sample in ids:
        bits = mixed(mixed(mixed(seed) + 0x9E3779B9 * sample) + 0x9E3779B9 * step)
        columns = range(1, classes + 1)
        rows.append([mixed(bits + 0x9E3779B9 * each) >> 1 for each in columns])
    return rows


def test_keys_depend_on_seed_example_step_and_class_alone():
    ids = [0, 7, 49_999]
    given = {"classes": 6, "seed": 2**31 - 1, "step": 390}
    found = losses.shuffle_keys(np.array(ids), **given)
    assert found.numpy().tolist() == keys_by_hand(ids, **given)
    as_tensors = {**given, "step": tf.constant(390, tf.int64)}
    alone = losses.shuffle_keys(tf.constant([7], tf.int64), **as_tensors)
    np.testing.assert_array_equal(alone[0], found[1])
    for change in ({"seed": 5}, {"step": 391}):
        other = losses.shuffle_keys(np.array(ids), **{**given, **change})
        assert not np.equal(other, found).any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_are_computed_in_float32(dtype):
    teacher, student = (tf.cast(x, dtype) for x in (TEACHER, STUDENT))
    found = [
        losses.ban(teacher, student),
        losses.ban_plus_labels(LABELS, teacher, student),
        *losses.cwtm(LABELS, teacher, student),
        losses.dkpp(teacher, student, keys=KEYS),
    ]
    assert {each.dtype for each in found} == {tf.float32}
