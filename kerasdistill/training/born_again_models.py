"""Shells around the second paper's losses: a generation learns from the one before.

Batches hold "teacher_logits", or `teacher` is asked in every step for those of the
step's own views.
"""

import functools
from collections.abc import Callable

import keras
from keras import ops

from kerasdistill.errors import UserError
from kerasdistill.training import losses
from kerasdistill.training.distillation_models import StudentModel


class BornAgainModel(StudentModel):
    """BAN: cross-entropy with the teacher's probabilities; labels are not looked at.

    Args:
        student: Keras model from images to logits [batch, classes].
        teacher: the generation before, images to logits; asked in inference mode
            and never changed. None: batches bring "teacher_logits".
        temperature: softens the probabilities, > 0; the paper's is 1.
    """

    needs = ("image", "teacher_logits")

    def __init__(
        self,
        student: keras.Model,
        *,
        teacher: Callable | None = None,
        temperature: float = 1.0,
        **kwargs,
    ):
        super().__init__(student, **kwargs)
        losses.require_temperature(temperature)
        self.temperature = temperature
        # In a partial, Keras does not take the teacher's weights for the shell's.
        self._ask = teacher and functools.partial(teacher, training=False)

    def completed(self, batch):
        """The batch, with the logits of a live teacher."""
        batch = super().completed(batch)
        if self._ask is None:
            return batch
        return {**batch, "teacher_logits": ops.stop_gradient(self._ask(batch["image"]))}

    def per_example_loss(self, batch, logits):
        """See `losses.ban`."""
        return losses.ban(batch["teacher_logits"], logits, temperature=self.temperature)


class BornAgainWithLabelsModel(BornAgainModel):
    """BAN+L: labels and teacher, each with its weight.

    Args:
        student: as for `BornAgainModel`, like the further options.
        label_weight: of the cross-entropy with labels, >= 0.
        teacher_weight: of the cross-entropy with the teacher, >= 0.
    """

    needs = ("image", "label", "teacher_logits")

    def __init__(self, student, *, label_weight=1.0, teacher_weight=1.0, **kwargs):
        super().__init__(student, **kwargs)
        if min(label_weight, teacher_weight) < 0 or label_weight + teacher_weight <= 0:
            raise UserError(
                f"weights {label_weight} and {teacher_weight} were given; expected "
                "none below 0 and one above"
            )
        self.label_weight = label_weight
        self.teacher_weight = teacher_weight

    def per_example_loss(self, batch, logits):
        """See `losses.ban_plus_labels`."""
        return losses.ban_plus_labels(
            batch["label"],
            batch["teacher_logits"],
            logits,
            label_weight=self.label_weight,
            teacher_weight=self.teacher_weight,
            temperature=self.temperature,
        )


class ConfidenceWeightedModel(BornAgainModel):
    """CWTM: labels alone, weighted by the teacher's largest probability."""

    needs = ("image", "label", "teacher_logits")

    def weighted_losses(self, batch, logits):
        """See `losses.cwtm`; the weights are normalised over all replicas."""
        values, confidences = losses.cwtm(
            batch["label"],
            batch["teacher_logits"],
            logits,
            temperature=self.temperature,
        )
        given = ops.cast(batch.get("weight", 1.0), "float32")
        return values, confidences * given


class PermutedPredictionsModel(BornAgainModel):
    """DKPP: the teacher's probabilities other than the largest are shuffled.

    Args:
        student: as for `BornAgainModel`, like the further options.
        seed: of the permutations.
        permutation: "fresh" for each example and step (its batches need
            "sample_id"), "fixed" for one in the whole training.
    """

    def __init__(self, student, *, seed=0, permutation="fresh", **kwargs):
        super().__init__(student, **kwargs)
        if permutation not in ("fresh", "fixed"):
            raise UserError(
                f"permutation {permutation!r} was given; expected fresh or fixed"
            )
        if permutation == "fresh" and keras.backend.backend() != "tensorflow":
            # Elsewhere the step is not known where the loss is computed.
            raise UserError(
                "fresh permutations need KERAS_BACKEND=tensorflow; set it, or use "
                "permutation fixed"
            )
        self.seed = seed
        self.permutation = permutation

    @property
    def needs(self):
        """Fresh permutations depend on the example."""
        which = ("sample_id",) if self.permutation == "fresh" else ()
        return ("image", *which, "teacher_logits")

    def per_example_loss(self, batch, logits):
        """See `losses.dkpp`."""
        ids, step = ops.zeros_like(logits[:, 0], dtype="int32"), 0
        if self.permutation == "fresh":
            ids, step = batch["sample_id"], self.optimizer.iterations
        keys = losses.shuffle_keys(
            ids, classes=logits.shape[-1], seed=self.seed, step=step
        )
        return losses.dkpp(
            batch["teacher_logits"], logits, keys=keys, temperature=self.temperature
        )
