"""Language models: published counts, Keras' own LSTM as reference, saved and loaded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.models import char_cnn_lstm, language, loading
from kerasdistill.models.recurrent import WindowLSTM, window_lstm
from kerasdistill.models.summary import num_trainable
from kerasdistill.recipes import ptb
from kerasdistill.recipes.architectures import CharCnnLstm, Lstm

WORDS = ("<eos>", "<unk>", "a", "of", "the", "company")
SMALL = {
    "lstm": Lstm(units=4, layers=2, dropout_rate=0.5),
    "cnn-lstm": CharCnnLstm(
        character_units=3,
        kernels=(1, 2),
        filters=(2, 3),
        highways=1,
        units=4,
        layers=2,
        dropout_rate=0.5,
    ),
}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def made(name, **options):
    return language.build(SMALL[name], words=WORDS, **options)


@pytest.mark.parametrize(("layers", "count"), [(1, 33.02), (2, 51.02), (3, 69.03)])
def test_tied_lstm_has_the_published_size(layers, count):
    recipe = ptb.language_model("lstm", layers=layers)
    words = tuple(map(str, range(10_000)))
    model = language.build(recipe.architecture, words=words)
    assert num_trainable(model) / 1e6 == pytest.approx(count, abs=0.005)


def test_character_model_has_the_published_size():
    letters = "".join(map(chr, range(48, 96)))
    words = (letters[:40], letters[40:], *map(str, range(9_998)))
    recipe = ptb.language_model("cnn-lstm")
    model = language.build(recipe.architecture, words=words)
    assert num_trainable(model) == 19_367_965


def test_window_is_keras_own_lstm():
    x, states = drawn(3, 5, 2), [drawn(3, 4, seed=seed) for seed in (1, 2)]
    ours = WindowLSTM(4, init_scale=0.5, seed=3)
    stock = keras.layers.LSTM(4, return_sequences=True, return_state=True)
    for layer in (ours, stock):
        layer.build(x.shape)
    stock.set_weights([drawn(*w.shape, seed=9) for w in stock.get_weights()])
    ours.set_weights(stock.get_weights())

    def results(layer, training):
        inputs = [tf.constant(value) for value in (x, *states)]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            found = layer(inputs[0], initial_state=inputs[1:], training=training)
            loss = sum(
                tf.reduce_sum(value * drawn(*value.shape, seed=7)) for value in found
            )
        weights = [weight.value for weight in layer.trainable_variables]
        return [*found, *tape.gradient(loss, [*inputs, *weights])]

    expected = results(stock, True)
    for found, value in zip(results(ours, True), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    unknown = tf.function(
        lambda x, h, c: ours(x, initial_state=[h, c]),
        input_signature=[
            tf.TensorSpec((None, None, 2)),
            *[tf.TensorSpec((None, 4))] * 2,
        ],
    )
    for found in (results(ours, False), unknown(x, *states)):
        for one, value in zip(found[:3], expected, strict=False):
            np.testing.assert_allclose(one, value, rtol=1e-5, atol=1e-6)


def test_products_alone_are_in_bfloat16():
    arguments = [drawn(3, 5, 2), drawn(3, 4), drawn(3, 4)]
    arguments += [drawn(2, 16), drawn(4, 16), drawn(16)]
    exact = window_lstm(*map(tf.constant, arguments), dtype="float32")
    rounded = window_lstm(*map(tf.constant, arguments), dtype="bfloat16")
    for one, value in zip(rounded, exact, strict=True):
        assert one.dtype == tf.float32
        assert 0 < np.abs(one - value).max() < 0.05


@pytest.mark.parametrize("name", SMALL)
def test_state_carries_over(name):
    model = made(name, seed=5)
    ids = np.random.default_rng(0).integers(0, len(WORDS), (2, 6)).astype(np.int32)
    ids = tf.constant(ids)
    whole, *last = model([ids, *language.start(model, 2)])
    first, *states = model([ids[:, :4], *language.start(model, 2)])
    second, *carried = model([ids[:, 4:], *states])
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=1e-6)
    for one, other in zip(carried, last, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_scores_do_not_depend_on_precision(name):
    exact, mixed = (made(name, precision=p) for p in ("float32", "mixed_bfloat16"))
    ids = tf.constant([[1, 2, 3]])
    inputs = [ids, *language.start(exact, 1)]
    np.testing.assert_array_equal(exact(inputs)[0], mixed(inputs)[0])
    assert np.abs(exact(inputs)[0] - mixed(inputs, training=True)[0]).max() > 0


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded(name, tmp_path):
    model = made(name, seed=5)
    model.save(tmp_path / "model.keras")
    loaded = loading.load(tmp_path / "model.keras")
    ids = tf.constant([[4, 5]])
    inputs = [ids, *language.start(model, 1)]
    for one, value in zip(loaded(inputs), model(inputs), strict=True):
        np.testing.assert_array_equal(one, value)


def test_seeds_count():
    one, same, other = (made("lstm", seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(map(np.array_equal, one, same))
    assert not np.array_equal(one[0], other[0])


def test_words_are_spelled_with_begin_and_end():
    table, count = char_cnn_lstm.spell(("ab", "b", "c" * 90), shortest=5)
    assert count == 6 and table.shape == (3, 65)
    assert table[0, :5].tolist() == [1, 3, 4, 2, 0]
    assert table[1, :4].tolist() == [1, 4, 2, 0]
    assert table[2].tolist() == [1, *[5] * 63, 2]
    assert char_cnn_lstm.spell(("a",), shortest=5)[0].shape == (1, 5)
