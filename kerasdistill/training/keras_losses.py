"""The papers' losses as Keras' own objects, for whoever trains with Keras' tools.

`keras.losses.Loss` objects for `compile(loss=...)`: the targets are the teacher's
logits; where labels weigh in, they come as a last column (`with_labels`). And
`keras.distillation.DistillationLoss` objects for `keras.distillation.Distiller`.
Its own default, LogitsDistillation(), takes the divergence of the logits themselves:
the string "kl_divergence" never reaches its softmax and T^2 (Keras 3.15).

All take logits, and values and gradients are those of `losses`. They load from a
`.keras` file once this module is imported.
"""

import keras
from keras import ops

from kerasdistill import objectives
from kerasdistill.errors import UserError

_registered = keras.saving.register_keras_serializable(package="kerasdistill")


def with_labels(teacher_logits, labels):
    """[batch, classes] and whole numbers [batch] -> float32 [batch, classes + 1]."""
    column = ops.cast(labels, "float32")[:, None]
    return ops.concatenate([ops.cast(teacher_logits, "float32"), column], axis=-1)


class _Loss(keras.losses.Loss):
    """A door to an objective, whose settings are keywords beside Keras' own."""

    kind: type[objectives.Objective]
    labelled = False  # whether the targets are those of `with_labels`

    def __init__(self, **options):
        names = objectives.settings(self.kind)
        settings = {name: options.pop(name) for name in names if name in options}
        super().__init__(**options)
        self.objective = self.kind(**settings)
        vars(self).update(vars(self.objective))

    def call(self, y_true, y_pred):
        batch = _split(y_true, y_pred) if self.labelled else {"teacher_logits": y_true}
        return self.objective.per_example(batch, y_pred)

    def get_config(self):
        return {**super().get_config(), **vars(self.objective)}


@_registered
class LogitRegression(_Loss):
    """See `objectives.LogitRegression`; the targets are the teacher's logits."""

    kind = objectives.LogitRegression


@_registered
class SoftTargets(_Loss):
    """T^2 CE(p, q): BAN, and the soft term of KD; targets are the teacher's logits."""

    kind = objectives.Ban


@_registered
class KnowledgeDistillation(_Loss):
    """alpha T^2 CE(soft targets at T) + (1 - alpha) CE(label), of `with_labels`."""

    kind, labelled = objectives.KnowledgeDistillation, True


@_registered
class BanWithLabels(_Loss):
    """BAN+L: label_weight CE(y, q) + teacher_weight T^2 CE(p, q), of `with_labels`."""

    kind, labelled = objectives.BanWithLabels, True


@_registered
class ConfidenceWeighted(_Loss):
    """CWTM: cross-entropy with labels, weighted by teacher max, of `with_labels`.

    The weights are divided by their mean over the batch, so that the batch's mean is
    equation 10. With several replicas use `ConfidenceWeightedModel`, which divides by
    the global batch's.
    """

    kind, labelled = objectives.ConfidenceWeighted, True

    def call(self, y_true, y_pred):
        values, confidences = super().call(y_true, y_pred)
        return values * confidences / ops.mean(confidences)


@_registered
class LogitRegressionDistillation(keras.distillation.DistillationLoss):
    """See `losses.logit_regression`; the mean over the batch."""

    kind: type[objectives.Objective] = objectives.LogitRegression
    seed = 0

    def __init__(self, *args, **settings):
        self.objective = self.kind(*args, **settings)
        vars(self).update(vars(self.objective))

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        batch = {"teacher_logits": teacher_outputs}
        values = self.objective.per_example(batch, student_outputs, seed=self.seed)
        return ops.mean(values)

    def get_config(self):
        return vars(self.objective).copy()

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@_registered
class SoftTargetsDistillation(LogitRegressionDistillation):
    """T^2 CE(p, q), the mean over the batch: BAN, and the soft term of KD.

    With labels beside it by the Distiller's `student_loss_weight` (1 - alpha).
    """

    kind = objectives.Ban


@_registered
class PermutedDistillation(LogitRegressionDistillation):
    """DKPP with one permutation, of `seed`, for the whole training.

    Fresh permutations depend on the example and the step, which Keras does not tell
    a loss: `PermutedPredictionsModel` has them.
    """

    kind = objectives.PermutedPredictions

    def __init__(self, seed: int = 0, temperature: float = 1.0):
        super().__init__(temperature=temperature, permutation="fixed")
        self.seed = seed

    def get_config(self):
        return {"seed": self.seed, "temperature": self.temperature}


def _split(y_true, y_pred):
    """Targets [batch, classes + 1] -> a batch of teacher logits and labels."""
    classes = y_pred.shape[-1]
    if y_true.shape[-1] != classes + 1:
        raise UserError(
            f"targets have {y_true.shape[-1]} columns for {classes} classes; expected "
            f"{classes + 1}: give with_labels(teacher_logits, labels)"
        )
    labels = ops.cast(y_true[:, classes], "int32")
    return {"teacher_logits": y_true[:, :classes], "label": labels}
