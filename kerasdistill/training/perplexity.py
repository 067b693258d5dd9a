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
    """Scores texts with one model, or with the mean probabilities of several.

    Args:
        models: see `models.lstm`.
    """

    def __init__(self, models: Sequence[keras.Model]):
        self._models = list(models)
        self._step = engines.current().compiled(self._score, self._models)

    def _score(self, ids, targets, weights, states):
        found, after = answers(self._models, ids, states)
        found = ops.take_along_axis(found, targets[..., None], axis=-1)[..., 0]
        return ops.sum(-found * weights), after

    def nats(self, windows) -> tuple[float, int]:
        """Mean of -log p(word) and the number of words.

        Args:
            windows: of one text in order: has arrays `ids`, `targets` and `weights`
                [windows, streams, length].
        """
        streams = windows.ids.shape[1]
        states = [language.start(model, streams) for model in self._models]
        total, count = 0.0, 0.0
        for ids, targets, weights in zip(
            windows.ids, windows.targets, windows.weights, strict=True
        ):
            nats, states = self._step(ids, targets, weights, states)
            total += float(nats)
            count += float(np.sum(weights))
        return total / count, round(count)


def perplexity(nats: float) -> float:
    """exp of the mean; infinite where that is too much for a float."""
    return math.exp(nats) if nats < 700 else math.inf
