"""Doors to the second paper's objectives: a generation learns from the one before.

Batches hold "teacher_logits", or `teacher` is called in every step for those of the
step's own views. Further options are `StudentModel`'s.
"""

from kerasdistill import objectives
from kerasdistill.training.distillation_models import StudentModel


class BornAgainModel(StudentModel):
    """See `objectives.Ban`."""

    def __init__(self, student, *, temperature=1.0, **kwargs):
        super().__init__(student, objectives.Ban(temperature), **kwargs)


class BornAgainWithLabelsModel(StudentModel):
    """See `objectives.BanWithLabels`."""

    def __init__(
        self,
        student,
        *,
        label_weight=1.0,
        teacher_weight=1.0,
        temperature=1.0,
        **kwargs,
    ):
        weights = {"label_weight": label_weight, "teacher_weight": teacher_weight}
        objective = objectives.BanWithLabels(temperature, **weights)
        super().__init__(student, objective, **kwargs)


class ConfidenceWeightedModel(StudentModel):
    """See `objectives.ConfidenceWeighted`."""

    def __init__(self, student, *, temperature=1.0, **kwargs):
        super().__init__(student, objectives.ConfidenceWeighted(temperature), **kwargs)


class PermutedPredictionsModel(StudentModel):
    """See `objectives.PermutedPredictions`; `seed` is of the permutations."""

    def __init__(self, student, *, temperature=1.0, permutation="fresh", **kwargs):
        objective = objectives.PermutedPredictions(temperature, permutation)
        super().__init__(student, objective, **kwargs)
