"""Perplexity by hand: one stream, the first word from <eos>, nothing dropped."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.models import language
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.training.perplexity import Scorer, perplexity
from pipelines.words import text

WORDS = ("<eos>", "a", "b", "c")
TOKENS = np.array([1, 2, 0, 3, 1, 1, 0], np.int32)


@keras.saving.register_keras_serializable("tests")
class Bigrams(keras.layers.Layer):
    """Log-probabilities by the word before, and how many words came before it."""

    table = np.log(
        [[0.1, 0.4, 0.2, 0.3], [0.5, 0.1, 0.2, 0.2], [0.7, 0.1, 0.1, 0.1], [0.25] * 4]
    )

    def call(self, ids, count):
        steps = tf.cumsum(tf.ones_like(ids, tf.float32), axis=1)
        logits = tf.gather(tf.constant(self.table, tf.float32), ids)
        # From the fourth word on all are alike: the state has to be carried.
        late = (count + steps - 1) >= 4
        logits = tf.where(late[..., None], 0.0, logits)
        return logits, count + steps[:, -1:]

    def compute_output_shape(self, ids_shape, count_shape):
        return (*ids_shape, 4), count_shape


def bigrams():
    ids, count = keras.Input((None,), dtype="int32"), keras.Input((1,))
    return keras.Model([ids, count], list(Bigrams()(ids, count)))


def numpy_lstm(weights, ids):
    """Log-probabilities of the next word after each, by the equations."""
    embeddings, bias, *layers = weights
    hidden = [np.zeros(embeddings.shape[1]) for _ in range(2)]
    cell = [np.zeros(embeddings.shape[1]) for _ in range(2)]
    sigmoid, found = lambda x: 1 / (1 + np.exp(-x)), []
    for word in ids:
        x = embeddings[word]
        for n in range(2):
            kernel, recurrent, b = layers[3 * n : 3 * n + 3]
            i, f, g, o = np.split(x @ kernel + hidden[n] @ recurrent + b, 4)
            cell[n] = sigmoid(f) * cell[n] + sigmoid(i) * np.tanh(g)
            x = hidden[n] = sigmoid(o) * np.tanh(cell[n])
        logits = x @ embeddings.T + bias
        found.append(logits - np.log(np.exp(logits).sum()))
    return np.array(found)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 35])
def test_perplexity_by_hand(length):
    cut = text.windows(TOKENS, end=0, streams=1, length=length)
    nats, count = Scorer([bigrams()]).nats(cut)
    # p(a|eos) p(b|a) p(eos|b) p(c|eos), then three times a quarter.
    expected = -math.log(0.4 * 0.2 * 0.7 * 0.3 * 0.25**3) / 7
    assert count == 7
    assert nats == pytest.approx(expected, rel=1e-6)
    assert perplexity(nats) == pytest.approx(math.exp(expected), rel=1e-6)


def test_lstm_against_its_equations():
    model = language.build(Lstm(units=3, layers=2, dropout_rate=0.5), words=WORDS)
    generator = np.random.default_rng(0)
    model.set_weights([generator.normal(size=w.shape) for w in model.get_weights()])
    log_probabilities = numpy_lstm(model.get_weights(), [0, *TOKENS[:-1]])
    expected = -np.mean(log_probabilities[np.arange(7), TOKENS])
    cut = text.windows(TOKENS, end=0, streams=1, length=3)
    assert Scorer([model]).nats(cut)[0] == pytest.approx(expected, rel=1e-5)


def test_several_models_are_averaged_by_probability():
    sure, even = bigrams(), language.build(Lstm(2, 1, 0.0), words=WORDS)
    even.set_weights([np.zeros(w.shape) for w in even.get_weights()])
    cut = text.windows(TOKENS[:2], end=0, streams=1, length=2)
    nats, _ = Scorer([sure, even]).nats(cut)
    expected = -math.log((0.4 + 0.25) / 2 * (0.2 + 0.25) / 2) / 2
    assert nats == pytest.approx(expected, rel=1e-6)


def test_hopeless_perplexity_is_infinite():
    assert perplexity(1000.0) == math.inf
