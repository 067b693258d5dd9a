"""The character-aware language model of Kim et al. (2016; docs/papers/born-again.md).

A word is read by its characters: convolutions of several widths with tanh and the
maximum over the word, then highway layers, then LSTM layers. Inputs and outputs are
those of `models.lstm`.
"""

import keras
import numpy as np
from keras import ops

from kerasdistill.models.lstm import stack
from kerasdistill.models.words import Spelling, Words
from kerasdistill.recipes.architectures import CharCnnLstm
from kerasdistill.seeds import derive_seed

INIT_SCALE = 0.05
GATE_BIAS = -2.0  # highways begin by carrying their input
LONGEST_WORD = 65  # characters, with begin and end; longer words are cut
_SPECIAL = 3  # padding, a word's begin, its end


def spell(words: tuple[str, ...], *, shortest: int = 1) -> tuple[np.ndarray, int]:
    """The characters of every word: int32 [V, length], and how many there are.

    0 is padding, 1 begins and 2 ends a word, the characters of the vocabulary follow
    in their order. Rows have `shortest` places at least, since the widest convolution
    needs its width.
    """
    letters = sorted(set("".join(words)))
    number = {letter: _SPECIAL + i for i, letter in enumerate(letters)}
    longest = max(len(word) for word in words) + 2
    table = np.zeros((len(words), max(shortest, min(longest, LONGEST_WORD))), np.int32)
    for row, word in zip(table, words, strict=True):
        codes = [1, *(number[letter] for letter in word[: LONGEST_WORD - 2]), 2]
        row[: len(codes)] = codes
    return table, _SPECIAL + len(letters)


def build(
    architecture: CharCnnLstm,
    *,
    spelling: np.ndarray,
    num_characters: int,
    seed: int = 0,
    precision: str = "float32",
) -> keras.Model:
    """A new model; all weights begin uniformly in +-0.05, biases at 0.

    `spelling` and `num_characters` are those of `spell`, `precision` is as for
    `models.lstm.build`; the characters' part is float32.
    """
    compute = keras.dtype_policies.get(precision).compute_dtype
    ids = keras.Input((None,), dtype="int32", name="word_ids")
    x = Spelling(*spelling.shape, table=spelling, name="spelling")(ids)
    x = keras.layers.Embedding(
        num_characters,
        architecture.character_units,
        embeddings_initializer=_start(seed, "characters"),
        name="characters",
    )(x)
    widths = zip(architecture.kernels, architecture.filters, strict=True)
    x = keras.layers.Concatenate(name="word")(
        [_read(x, kernel, filters, seed=seed) for kernel, filters in widths]
    )
    for number in range(1, architecture.highways + 1):
        name = f"highway_{number}"
        x = Highway(seed=derive_seed(seed, name), name=name)(x)
    options = {"seed": seed, "precision": compute, "init_scale": INIT_SCALE}
    x, states, new_states = stack(x, architecture, **options)
    logits = Words(len(spelling), **options, name="words")(x)
    return keras.Model([ids, *states], [logits, *new_states], name="char_cnn_lstm")


def _read(x, kernel: int, filters: int, *, seed: int):
    """[B, T, length, E] -> [B, T, filters]: the largest value along each word."""
    name = f"width_{kernel}"
    x = keras.layers.Conv2D(
        filters,
        (1, kernel),
        activation="tanh",
        kernel_initializer=_start(seed, name),
        name=name,
    )(x)
    return LargestAlongWord(name=f"{name}_largest")(x)


@keras.saving.register_keras_serializable("kerasdistill")
class LargestAlongWord(keras.layers.Layer):
    """[B, T, length, filters] -> [B, T, filters]: maximum over the length."""

    def call(self, inputs):
        return ops.max(inputs, axis=2)


@keras.saving.register_keras_serializable("kerasdistill")
class Highway(keras.layers.Layer):
    """t relu(x W + b) + (1 - t) x, t = sigmoid(x V + c) (Srivastava et al. 2015)."""

    def __init__(self, *, seed=0, **options):
        super().__init__(**options)
        self._seed = seed

    def build(self, input_shape):
        size = input_shape[-1]
        for name, bias in (("transform", 0.0), ("gate", GATE_BIAS)):
            dense = keras.layers.Dense(
                size,
                kernel_initializer=_start(self._seed, name),
                bias_initializer=keras.initializers.Constant(bias),
                name=name,
            )
            dense.build(input_shape)
            setattr(self, name, dense)

    def call(self, inputs):
        share = ops.sigmoid(self.gate(inputs))
        return share * ops.relu(self.transform(inputs)) + (1 - share) * inputs


def _start(seed: int, name: str):
    own = derive_seed(seed, name)
    return keras.initializers.RandomUniform(-INIT_SCALE, INIT_SCALE, seed=own)
