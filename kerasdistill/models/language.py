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
    window: int | None = None,
) -> keras.Model:
    """A new model for the vocabulary `words`; see `models.lstm`."""
    options = {"seed": seed, "precision": precision, "window": window}
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


def num_words(model: keras.Model) -> int:
    """Size of the vocabulary that the model predicts."""
    return model.outputs[0].shape[-1]


def like(
    model: keras.Model,
    architecture: LanguageNetwork,
    *,
    words: tuple[str, ...],
    window: int | None,
    precision: str = "float32",
) -> keras.Model:
    """A copy of `model`, with its weights, for windows of another length."""
    options = {"words": words, "window": window, "precision": precision}
    copy = build(architecture, **options)
    copy.set_weights(model.get_weights())
    return copy
