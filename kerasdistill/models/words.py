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


@keras.saving.register_keras_serializable("kerasdistill")
class TiedEmbedding(keras.layers.Layer):
    """Word ids [B, T] -> vectors [B, T, U]; with `reverse`, vectors -> logits.

    Both ways use one matrix [V, U] (Press and Wolf 2017); logits have a bias.

    Args:
        words: V.
        units: U.
        init_scale: the matrix begins uniformly in +-init_scale, the bias at 0.
        seed: of the weights.
        precision: of the product with the matrix in training; no part of a saved model.
    """

    def __init__(
        self, words, units, *, init_scale=0.1, seed=0, precision="float32", **options
    ):
        super().__init__(**options)
        self.words = words
        self.units = units
        self.precision = precision
        self._start = keras.initializers.RandomUniform(
            -init_scale, init_scale, seed=derive_seed(seed, "words")
        )

    def build(self, input_shape):
        """Both weights, whichever way is asked for first."""
        self.embeddings = self.add_weight(
            shape=(self.words, self.units), initializer=self._start, name="embeddings"
        )
        self.bias = self.add_weight(
            shape=(self.words,), initializer="zeros", name="bias"
        )

    def call(self, inputs, reverse=False, training=False):
        """See the class."""
        if not reverse:
            return ops.take(self.embeddings, inputs, axis=0)
        dtype = self.precision if training else "float32"
        return logits_of(inputs, self.embeddings, self.bias, dtype=dtype)

    def compute_output_spec(self, inputs, reverse=False, training=False):
        """[B, T] -> [B, T, U], or [B, T, U] -> [B, T, V], float32."""
        size = self.words if reverse else self.units
        return keras.KerasTensor((*inputs.shape[:2], size), "float32")

    def get_config(self):
        """What loading needs."""
        return {**super().get_config(), "words": self.words, "units": self.units}


@keras.saving.register_keras_serializable("kerasdistill")
class Words(keras.layers.Layer):
    """Vectors [B, T, U] -> logits [B, T, V], with weights of its own.

    Args: as of `TiedEmbedding`.
    """

    def __init__(
        self, words, *, init_scale=0.05, seed=0, precision="float32", **options
    ):
        super().__init__(**options)
        self.words = words
        self.precision = precision
        self._start = keras.initializers.RandomUniform(
            -init_scale, init_scale, seed=derive_seed(seed, "words")
        )

    def build(self, input_shape):
        """Weights [V, U] and a bias."""
        self.kernel = self.add_weight(
            shape=(self.words, input_shape[-1]), initializer=self._start, name="kernel"
        )
        self.bias = self.add_weight(
            shape=(self.words,), initializer="zeros", name="bias"
        )

    def call(self, inputs, training=False):
        """See the class."""
        dtype = self.precision if training else "float32"
        return logits_of(inputs, self.kernel, self.bias, dtype=dtype)

    def compute_output_spec(self, inputs, training=False):
        """[B, T, U] -> [B, T, V], float32."""
        return keras.KerasTensor((*inputs.shape[:-1], self.words), "float32")

    def get_config(self):
        """What loading needs."""
        return {**super().get_config(), "words": self.words}


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
        """The table, a weight that is not trained."""
        self.table = self.add_weight(
            shape=(self.words, self.length),
            initializer=lambda shape, dtype: ops.convert_to_tensor(self._table, dtype),
            dtype="int32",
            trainable=False,
            name="table",
        )

    def call(self, inputs):
        """See the class."""
        return ops.take(self.table, inputs, axis=0)

    def compute_output_spec(self, inputs):
        """Whole numbers, whatever the layer's own format."""
        return keras.KerasTensor((*inputs.shape, self.length), "int32")

    def get_config(self):
        """What loading needs; the table is among the weights."""
        return {**super().get_config(), "words": self.words, "length": self.length}
