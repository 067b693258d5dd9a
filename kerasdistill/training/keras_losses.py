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

from kerasdistill.errors import UserError
from kerasdistill.training import losses

_registered = keras.saving.register_keras_serializable(package="kerasdistill")


def with_labels(teacher_logits, labels):
    """Targets with the labels as last column: float32 [batch, classes + 1].

    Args:
        teacher_logits: [batch, classes].
        labels: whole numbers [batch].
    """
    column = ops.cast(labels, "float32")[:, None]
    return ops.concatenate([ops.cast(teacher_logits, "float32"), column], axis=-1)


class _Loss(keras.losses.Loss):
    """What the losses share: a temperature, and their further options by name."""

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        losses.require_temperature(temperature)
        self.temperature = temperature

    def get_config(self):
        """The keywords that make the same loss."""
        return {**super().get_config(), "temperature": self.temperature}


@_registered
class LogitRegression(keras.losses.Loss):
    """See `losses.logit_regression`; the targets are the teacher's logits."""

    def call(self, y_true, y_pred):
        """Both [batch, classes] -> [batch]."""
        return losses.logit_regression(y_true, y_pred)


@_registered
class SoftTargets(_Loss):
    """T^2 CE(p, q): BAN, and the soft term of KD; targets are the teacher's logits.

    Args:
        temperature: T > 0.
        reduction, name, dtype: Keras' own.
    """

    def call(self, y_true, y_pred):
        """Both [batch, classes] -> [batch]; see `losses.ban`."""
        return losses.ban(y_true, y_pred, temperature=self.temperature)


@_registered
class KnowledgeDistillation(_Loss):
    """alpha T^2 CE(soft targets at T) + (1 - alpha) CE(label), of `with_labels`.

    Args:
        alpha: weight of the soft term, in [0, 1].
        temperature: T > 0.
        reduction, name, dtype: Keras' own.
    """

    def __init__(self, *, alpha: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= alpha <= 1:
            raise UserError(f"alpha {alpha} was given; expected 0 to 1")
        self.alpha = alpha

    def call(self, y_true, y_pred):
        """[batch, classes + 1], [batch, classes] -> [batch]."""
        logits, labels = _split(y_true, y_pred)
        return losses.knowledge_distillation(
            labels, logits, y_pred, temperature=self.temperature, alpha=self.alpha
        )

    def get_config(self):
        """The keywords that make the same loss."""
        return {**super().get_config(), "alpha": self.alpha}


@_registered
class BanWithLabels(_Loss):
    """BAN+L: label_weight CE(y, q) + teacher_weight T^2 CE(p, q), of `with_labels`.

    Args:
        label_weight: >= 0.
        teacher_weight: >= 0.
        temperature: T > 0, of the teacher's term.
        reduction, name, dtype: Keras' own.
    """

    def __init__(
        self, *, label_weight: float = 1.0, teacher_weight: float = 1.0, **kwargs
    ):
        super().__init__(**kwargs)
        if min(label_weight, teacher_weight) < 0:
            raise UserError(
                f"weights {label_weight} and {teacher_weight} were given; expected "
                "none below 0"
            )
        self.weights = {"label_weight": label_weight, "teacher_weight": teacher_weight}

    def call(self, y_true, y_pred):
        """[batch, classes + 1], [batch, classes] -> [batch]."""
        logits, labels = _split(y_true, y_pred)
        return losses.ban_plus_labels(
            labels, logits, y_pred, temperature=self.temperature, **self.weights
        )

    def get_config(self):
        """The keywords that make the same loss."""
        return {**super().get_config(), **self.weights}


@_registered
class ConfidenceWeighted(_Loss):
    """CWTM: cross-entropy with labels, weighted by teacher max, of `with_labels`.

    The weights are divided by their mean over the batch, so that the batch's mean is
    equation 10. With several replicas use `ConfidenceWeightedModel`, which divides by
    the global batch's.
    """

    def call(self, y_true, y_pred):
        """[batch, classes + 1], [batch, classes] -> [batch]."""
        logits, labels = _split(y_true, y_pred)
        values, confidences = losses.cwtm(
            labels, logits, y_pred, temperature=self.temperature
        )
        return values * confidences / ops.mean(confidences)


@_registered
class LogitRegressionDistillation(keras.distillation.DistillationLoss):
    """See `losses.logit_regression`; the mean over the batch."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Both [batch, classes] -> scalar."""
        return ops.mean(losses.logit_regression(teacher_outputs, student_outputs))

    def get_config(self):
        """The keywords that make the same loss: none."""
        return {}

    @classmethod
    def from_config(cls, config):
        """The same loss again."""
        return cls(**config)


@_registered
class SoftTargetsDistillation(LogitRegressionDistillation):
    """T^2 CE(p, q), the mean over the batch: BAN, and the soft term of KD.

    With labels beside it by the Distiller's `student_loss_weight` (1 - alpha).

    Args:
        temperature: T > 0.
    """

    def __init__(self, temperature: float = 1.0):
        losses.require_temperature(temperature)
        self.temperature = temperature

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Both [batch, classes] -> scalar; see `losses.ban`."""
        values = losses.ban(
            teacher_outputs, student_outputs, temperature=self.temperature
        )
        return ops.mean(values)

    def get_config(self):
        """The keywords that make the same loss."""
        return {"temperature": self.temperature}


@_registered
class PermutedDistillation(SoftTargetsDistillation):
    """DKPP with one permutation for the whole training; the mean over the batch.

    Fresh permutations depend on the example and the step, which Keras does not tell
    a loss: `PermutedPredictionsModel` has them.

    Args:
        seed: chooses the permutation, from 0.
        temperature: T > 0.
    """

    def __init__(self, seed: int = 0, temperature: float = 1.0):
        super().__init__(temperature)
        self.seed = seed

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Both [batch, classes] -> scalar; see `losses.dkpp`."""
        classes = student_outputs.shape[-1]
        same = ops.zeros_like(student_outputs[:, 0], dtype="int32")
        keys = losses.shuffle_keys(same, classes=classes, seed=self.seed, step=0)
        values = losses.dkpp(
            teacher_outputs,
            student_outputs,
            keys=keys,
            temperature=self.temperature,
        )
        return ops.mean(values)

    def get_config(self):
        """The keywords that make the same loss."""
        return {**super().get_config(), "seed": self.seed}


def _split(y_true, y_pred):
    """Targets [batch, classes + 1] -> teacher logits and labels int32 [batch]."""
    classes = y_pred.shape[-1]
    if y_true.shape[-1] != classes + 1:
        raise UserError(
            f"targets have {y_true.shape[-1]} columns for {classes} classes; expected "
            f"{classes + 1}: give with_labels(teacher_logits, labels)"
        )
    return y_true[:, :classes], ops.cast(y_true[:, classes], "int32")
