"""Training steps on text against the same done by hand; state, teachers, top-k."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill import losses
from kerasdistill.errors import UserError
from kerasdistill.models import language
from kerasdistill.objectives import Ban, BanWithLabels, HardLabel
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.training.language_models import LanguageModel
from pipelines.words import text

WORDS = tuple("abcdefg")
NETWORK = Lstm(units=4, layers=1, dropout_rate=0.0)
CUT = text.windows(
    np.random.default_rng(0).integers(0, 7, 40).astype(np.int32),
    end=0,
    streams=3,
    length=5,
)


def made(seed=0):
    model = language.build(NETWORK, words=WORDS, seed=seed)
    scale = np.random.default_rng(seed)
    model.set_weights([scale.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def trained(objective, *, epochs=2, rate=0.1, student=None, **options):
    student = student or made()
    shell = LanguageModel(student, objective, streams=3, **options)
    shell.compile(optimizer=keras.optimizers.SGD(rate))
    stream = text.stream(CUT)
    history = shell.fit(
        stream.batches(0),
        steps_per_epoch=stream.steps_per_epoch,
        epochs=epochs,
        verbose=0,
        shuffle=False,
    ).history
    return student, history


def batches():
    return text.stream(CUT).batches(0).take(2)


REFUSED = {
    "pairs": (
        lambda s: s.fit(batches().map(lambda b: (b["ids"], b["targets"]))),
        "tuple of 2.*ids",
    ),
    "no targets": (
        lambda s: s.fit(batches().map(lambda b: {"ids": b["ids"]})),
        "targets",
    ),
    "class_weight": (lambda s: s.fit(batches(), class_weight={0: 2.0}), "class_weight"),
    "loss": (lambda s: s.compile("sgd", loss="mse"), "given loss"),
    "no optimizer": (lambda s: s.compile(), "optimizer"),
    "evaluate": (lambda s: s.evaluate(batches()), "Scorer"),
    "validation": (lambda s: s.fit(batches(), validation_data=batches()), "Scorer"),
    "another vocabulary": (
        lambda s: LanguageModel(s.student, Ban(), streams=3, teachers=[of_words("ab")]),
        "7",
    ),
    "a network of images": (
        lambda s: LanguageModel(
            keras.Sequential([keras.Input((4,)), keras.layers.Dense(7)]), streams=3
        ),
        "ids",
    ),
}


def of_words(words):
    return language.build(NETWORK, words=tuple(words), seed=0)


@pytest.mark.parametrize("situation", REFUSED)
def test_refused_in_one_line(situation):
    act, words = REFUSED[situation]
    shell = LanguageModel(made(), streams=3)
    if "optimizer" not in situation and situation != "loss":
        shell.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(UserError, match=words):
        act(shell)


def test_callbacks_and_files(tmp_path):
    shell = LanguageModel(made(), HardLabel(), streams=3, clip_norm=0.5)
    shell.compile(keras.optimizers.SGD(0.1))
    watch = keras.callbacks.EarlyStopping("label_loss", patience=9)
    last = str(tmp_path / "last.keras")
    keep = keras.callbacks.ModelCheckpoint(last, monitor="loss")
    shell.fit(batches(), epochs=2, verbose=0, callbacks=[watch, keep])
    assert watch.monitor_op is keras.ops.less
    loaded = keras.saving.load_model(last, safe_mode=True)
    assert (loaded.streams, loaded.clip_norm) == (3, 0.5)
    assert loaded.objective == shell.objective
    # It goes on from the same weights and the same state of the streams.
    expected, found = (
        each.fit(batches(), verbose=0).history["loss"] for each in (shell, loaded)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def by_hand(loss_of, *, epochs=2, rate=0.1, clip=None):
    """Plain gradient descent on the sum over steps of the batch's mean."""
    model = made()
    for _ in range(epochs):
        states = language.start(model, 3)
        for ids, targets, weights in zip(
            CUT.ids, CUT.targets, CUT.weights, strict=True
        ):
            with tf.GradientTape() as tape:
                logits, *after = model([tf.constant(ids), *states])
                loss = tf.reduce_sum(loss_of(logits, ids, targets) * weights) / 3
            gradients = tape.gradient(loss, model.trainable_variables)
            if clip:
                gradients, _ = tf.clip_by_global_norm(gradients, clip)
            for variable, gradient in zip(
                model.trainable_variables, gradients, strict=True
            ):
                variable.assign_sub(rate * tf.convert_to_tensor(gradient))
            states = after
    return model


def label_loss(logits, ids, targets):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)


def assert_same(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_labels_as_by_hand(clip):
    student, history = trained(HardLabel(), clip_norm=clip)
    assert_same(student, by_hand(label_loss, clip=clip))
    assert history["loss"] == history["label_loss"]
    assert history["loss"][1] < history["loss"][0]


@pytest.mark.parametrize("labels", [0.0, 1.0])
def test_live_teacher_as_by_hand(labels):
    teacher = made(seed=9)
    # The teacher's state moves with the words, as the student's.
    answers, states = {}, language.start(teacher, 3)
    for ids in CUT.ids:
        logits, *states = teacher([tf.constant(ids), *states])
        answers[ids.tobytes()] = tf.nn.softmax(logits)

    def loss_of(logits, ids, targets):
        soft = tf.nn.softmax_cross_entropy_with_logits(answers[ids.tobytes()], logits)
        return labels * label_loss(logits, ids, targets) + soft

    objective = BanWithLabels() if labels else Ban()
    before = teacher.get_weights()
    student, _ = trained(objective, teachers=[teacher])
    assert_same(student, by_hand(loss_of))
    assert all(map(np.array_equal, before, teacher.get_weights()))


def test_two_teachers_are_averaged():
    first, second = made(seed=1), made(seed=2)
    one, _ = trained(Ban(), teachers=[first, first])
    alone, _ = trained(Ban(), teachers=[first])
    both, _ = trained(Ban(), teachers=[first, second])
    assert_same(one, alone)
    assert not np.allclose(both.get_weights()[0], alone.get_weights()[0], atol=1e-4)


def test_state_is_carried_and_begins_anew():
    model = made()
    shell = LanguageModel(model, streams=3)
    batches = list(text.stream(CUT).batches(0).take(len(CUT) + 1))
    whole = np.concatenate([b["ids"] for b in batches[:-1]], axis=1)
    expected = model([tf.constant(whole), *language.start(model, 3)])[0]
    found = [shell(batch) for batch in batches]
    np.testing.assert_allclose(tf.concat(found[:-1], axis=1), expected, atol=1e-5)
    np.testing.assert_allclose(found[-1], found[0], atol=1e-6)


def test_all_words_kept_are_ban():
    logits, teacher = (
        np.random.default_rng(seed).normal(size=(4, 7)).astype(np.float32)
        for seed in (1, 2)
    )
    kept = tf.math.top_k(tf.nn.log_softmax(teacher), 7)
    found = losses.ban_of_largest(kept.indices, kept.values, logits)
    np.testing.assert_allclose(found, losses.ban(teacher, logits), rtol=1e-4)


def test_the_rest_is_one_outcome():
    logits = np.log(np.array([[0.5, 0.2, 0.2, 0.1]], np.float32))
    found = losses.ban_of_largest([[0, 2]], np.log([[0.6, 0.3]]), logits)
    expected = -(0.6 * np.log(0.5) + 0.3 * np.log(0.2) + 0.1 * np.log(0.3))
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_gradient_of_the_largest_is_right():
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(2, 6)).astype(np.float32)
    ids = np.array([[0, 3], [5, 1]])
    kept = np.log([[0.5, 0.2], [0.4, 0.4]]).astype(np.float32)

    def value(z):
        return float(tf.reduce_sum(losses.ban_of_largest(ids, kept, z)))

    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(losses.ban_of_largest(ids, kept, variable))
    found = tape.gradient(loss, variable).numpy()
    for place in np.ndindex(2, 6):
        step = np.zeros_like(logits)
        step[place] = 1e-2
        slope = (value(logits + step) - value(logits - step)) / 2e-2
        assert found[place] == pytest.approx(slope, abs=2e-3)


def test_sure_student_stays_finite():
    logits = np.array([[200.0, 0.0, 0.0]], np.float32)
    found = losses.ban_of_largest([[0]], [[0.0]], logits)
    assert np.isfinite(found).all()
