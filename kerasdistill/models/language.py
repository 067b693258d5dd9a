"""Language models by their architecture, and what goes into and comes out of them."""

import keras
from keras import ops

from kerasdistill.models import char_cnn_lstm, lstm
from kerasdistill.recipes.architectures import LanguageNetwork, Lstm


def build(
    architecture: LanguageNetwork,
    *,
    words: tuple[str, ...],
    seed: int = 0,
    precision: str = "float32",
) -> keras.Model:
    """A new model for the vocabulary `words`; see `models.lstm`."""
    options = {"seed": seed, "precision": precision}
    if isinstance(architecture, Lstm):
        return lstm.build(architecture, num_words=len(words), **options)
    spelling, num_characters = char_cnn_lstm.spell(
        words, shortest=max(architecture.kernels)
    )
    return char_cnn_lstm.build(
        architecture, spelling=spelling, num_characters=num_characters, **options
    )


def start(model: keras.Model, streams: int) -> list:
    """The state before any word: zeros [streams, units] for every state."""
    return [ops.zeros((streams, each.shape[-1])) for each in model.inputs[1:]]
