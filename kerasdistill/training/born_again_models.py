"""Doors to the second paper's objectives: a generation learns from the one before.

Batches hold "teacher_logits", or `teacher` is called in every step for those of the
step's own views. Keywords are the objective's settings and `StudentModel`'s options.
"""

import keras

from kerasdistill import objectives
from kerasdistill.training.distillation_models import Door

_registered = keras.saving.register_keras_serializable("kerasdistill")


@_registered
class BornAgainModel(Door):
    """See `objectives.Ban`."""

    kind = objectives.Ban


@_registered
class BornAgainWithLabelsModel(Door):
    """See `objectives.BanWithLabels`."""

    kind = objectives.BanWithLabels


@_registered
class ConfidenceWeightedModel(Door):
    """See `objectives.ConfidenceWeighted`."""

    kind = objectives.ConfidenceWeighted


@_registered
class PermutedPredictionsModel(Door):
    """See `objectives.PermutedPredictions`; `seed` is of the permutations."""

    kind = objectives.PermutedPredictions
