"""Perplexity of a text: every word counts once, in one stream."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kerasdistill.models import language
from kerasdistill.training import engines
from kerasdistill.training.language_models import answers


class Scorer:
    """Scores texts with a language model, or the mean probabilities of several."""

    def __init__(self, models: Sequence[keras.Model]):
        self._models = list(models)
        self._step = engines.current().compiled(self._score, self._models)

    def _score(self, ids, targets, weights, states):
        logs, after = answers(self._models, ids, states)
        logs = ops.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]
        return ops.sum(-logs * weights), after

    def nats(self, windows) -> tuple[float, int]:
        """Mean of -log p(word) and the number of words.

        `windows` has, in the text's order, arrays `ids`, `targets` and `weights`
        [windows, streams, length].
        """
        streams = windows.ids.shape[1]
        states = [language.start(model, streams) for model in self._models]
        total = 0.0
        for window in zip(windows.ids, windows.targets, windows.weights, strict=True):
            nats, states = self._step(*window, states)
            total += float(nats)
        count = int(np.count_nonzero(windows.weights))
        return total / count, count


def perplexity(nats: float) -> float:
    """exp of the mean; infinite where that is too much for a float."""
    return math.exp(nats) if nats < 700 else math.inf
