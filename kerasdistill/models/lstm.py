"""The LSTM language model: words, tied embedding, LSTM layers, words.

Its state is an input and an output, so one model serves any number of streams:
[ids int32 [B, T], hidden and cell of each layer [B, U]] -> [logits float32 [B, T, V],
the same states after the T words].
"""

import keras

from kerasdistill.models.recurrent import WindowLSTM
from kerasdistill.models.words import TiedEmbedding
from kerasdistill.recipes.architectures import Lstm
from kerasdistill.seeds import derive_seed


def build(
    architecture: Lstm, *, num_words: int, seed: int = 0, precision: str = "float32"
) -> keras.Model:
    """A new model.

    Weights begin as the PyTorch example's: uniformly in +-0.1 (embedding) and
    +-1/sqrt(units). `precision` is a Keras dtype policy; bfloat16 is used in training
    alone.
    """
    compute = keras.dtype_policies.get(precision).compute_dtype
    ids = keras.Input((None,), dtype="int32", name="word_ids")
    embedding = TiedEmbedding(
        num_words, architecture.units, seed=seed, precision=compute, name="words"
    )
    x = dropout(embedding(ids), architecture.dropout_rate, seed=seed, name="dropout_0")
    x, states, new_states = stack(x, architecture, seed=seed, precision=compute)
    return keras.Model(
        [ids, *states], [embedding(x, reverse=True), *new_states], name="lstm"
    )


def stack(x, architecture, *, seed: int, precision: str, init_scale=None):
    """The LSTM layers, each with dropout after it: output, states before and after."""
    units, states, new_states = architecture.units, [], []
    for number in range(1, architecture.layers + 1):
        before = [
            keras.Input((units,), dtype="float32", name=f"{part}_{number}")
            for part in ("hidden", "cell")
        ]
        name = f"lstm_{number}"
        x, *after = WindowLSTM(
            units,
            init_scale=init_scale or units**-0.5,
            seed=derive_seed(seed, name),
            precision=precision,
            name=name,
        )(x, initial_state=before)
        rate = architecture.dropout_rate
        x = dropout(x, rate, seed=seed, name=f"dropout_{number}")
        states += before
        new_states += after
    return x, states, new_states


def dropout(x, rate: float, *, seed: int, name: str):
    """Dropout, or nothing at rate 0."""
    if rate == 0:
        return x
    return keras.layers.Dropout(rate, seed=derive_seed(seed, name), name=name)(x)
