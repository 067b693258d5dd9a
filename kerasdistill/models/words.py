"""Between words and vectors: tied embedding, output layer, characters of words."""

import keras
import numpy as np
from keras import ops

from kerasdistill.seeds import derive_seed


def logits_of(features, weights, bias, *, dtype):
    """float32 features [B, T, U] weights^T + bias, weights [V, U] -> [B, T, V].

    The product is computed in `dtype`, of two matrices: a batch of them would bring a
    gradient of the weights for each of its rows.
    """
    steps, units = features.shape[1], features.shape[2]
    flat = ops.cast(ops.reshape(features, (-1, units)), dtype)
    product = ops.matmul(flat, ops.transpose(ops.cast(weights, dtype)))
    logits = ops.cast(product, "float32") + bias
    return ops.reshape(
        logits, (-1, ops.shape(features)[1] if steps is None else steps, bias.shape[0])
    )


class _OfWords(keras.layers.Layer):
    """A layer with one matrix [V, U] and a bias [V].

    Args:
        words: V.
        init_scale: the matrix begins uniformly in +-init_scale, the bias at 0.
        seed: of the weights.
        precision: of the product with the matrix in training; no part of a saved model.
    """

    def __init__(
        self, words, *, init_scale=0.1, seed=0, precision="float32", **options
    ):
        super().__init__(**options)
        self.words = words
        self.precision = precision
        self._start = keras.initializers.RandomUniform(
            -init_scale, init_scale, seed=derive_seed(seed, "words")
        )

    def _build(self, units: int, name: str) -> None:
        self.matrix = self.add_weight(
            shape=(self.words, units), initializer=self._start, name=name
        )
        self.bias = self.add_weight(
            shape=(self.words,), initializer="zeros", name="bias"
        )

    def _logits(self, features, training: bool):
        dtype = self.precision if training else "float32"
        return logits_of(features, self.matrix, self.bias, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "words": self.words}


@keras.saving.register_keras_serializable("kerasdistill")
class TiedEmbedding(_OfWords):
    """Word ids [B, T] -> vectors [B, T, U]; with `reverse`, vectors -> logits.

    Both ways use one matrix (Press and Wolf 2017); logits have a bias.
    """

    def __init__(self, words, units, **options):
        super().__init__(words, **options)
        self.units = units

    def build(self, input_shape):
        self._build(self.units, "embeddings")

    def call(self, inputs, reverse=False, training=False):
        if reverse:
            return self._logits(inputs, training)
        return ops.take(self.matrix, inputs, axis=0)

    def compute_output_spec(self, inputs, reverse=False, training=False):
        size = self.words if reverse else self.units
        return keras.KerasTensor((*inputs.shape[:2], size), "float32")

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("kerasdistill")
class Words(_OfWords):
    """Vectors [B, T, U] -> logits [B, T, V], with weights of its own."""

    def build(self, input_shape):
        self._build(input_shape[-1], "kernel")

    def call(self, inputs, training=False):
        return self._logits(inputs, training)

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor((*inputs.shape[:-1], self.words), "float32")


@keras.saving.register_keras_serializable("kerasdistill")
class Spelling(keras.layers.Layer):
    """Word ids [B, T] -> ids of their characters [B, T, length], by a fixed table.

    Args:
        words: rows of the table.
        length: its columns.
        table: int32 [words, length] (None: it is loaded with the weights).
    """

    def __init__(self, words, length, *, table=None, **options):
        super().__init__(**options)
        self.words = words
        self.length = length
        self._table = np.zeros((words, length), "int32") if table is None else table

    def build(self, input_shape):
        self.table = self.add_weight(
            shape=(self.words, self.length),
            initializer=lambda shape, dtype: ops.convert_to_tensor(self._table, dtype),
            dtype="int32",
            trainable=False,
            name="table",
        )

    def call(self, inputs):
        return ops.take(self.table, inputs, axis=0)

    def compute_output_spec(self, inputs):
        return keras.KerasTensor((*inputs.shape, self.length), "int32")

    def get_config(self):
        return {**super().get_config(), "words": self.words, "length": self.length}
