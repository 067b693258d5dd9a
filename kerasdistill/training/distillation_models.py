"""Keras models that train a student: a shell around an objective, and doors to Urban's
objectives, whose settings are keywords beside `StudentModel`'s options.

Each wraps any Keras model from images to logits and is fitted on batches of
{"image", "label", "teacher_logits"[, "sample_id"][, "weight"]}. The loss of a step is
the weighted sum over the examples of all replicas divided by their total weight,
so that the number of replicas and a short last batch change nothing.
"""

import functools
from collections.abc import Callable

import keras
from keras import ops

from kerasdistill import losses, objectives
from kerasdistill.errors import UserError
from kerasdistill.models.summary import leaf_layers
from kerasdistill.objectives import Objective
from kerasdistill.training import batches, shells
from kerasdistill.training.shells import ON_JAX, ON_TENSORFLOW, Observed, Shell

if ON_TENSORFLOW:
    import tensorflow as tf

    from kerasdistill.training.engines.tensorflow import for_replicas

_registered = keras.saving.register_keras_serializable("kerasdistill")


@_registered
class StudentModel(Shell):
    """Trains a network by an objective.

    Args:
        student: Keras model from images to logits [batch, classes]. It is trained
            in place and is all that needs to be kept afterwards.
        objective: what an example costs.
        teacher: images to logits, called in inference mode in every step and never
            changed. None: batches bring "teacher_logits", or the objective needs none.
        seed: of what the objective draws.
        clip_norm: longest gradient, over all weights and replicas (None: any). An
            optimizer's own global_clipnorm clips each replica's share instead.
    """

    kept = ("seed", "clip_norm")

    #: Turns what training is given into a batch, in its step (None: it is one).
    complete: Callable[[dict], dict] | None = None

    def __init__(
        self,
        student: keras.Model,
        objective: Objective,
        *,
        teacher: Callable | None = None,
        seed: int = 0,
        clip_norm: float | None = None,
        **kwargs,
    ):
        if any(layer.compute_dtype == "float16" for layer in leaf_layers(student)):
            # By the shell's own policy Keras decides whether to scale the loss.
            kwargs.setdefault("dtype", "mixed_float16")
        super().__init__(autocast=False, **kwargs)
        if objective.needs_step and not (ON_TENSORFLOW or ON_JAX):
            # Elsewhere the step is not known where the loss is computed.
            raise UserError(
                f"{objective} needs KERAS_BACKEND tensorflow or jax, as it depends on "
                "the step; set it, or use another setting, such as a fixed permutation"
            )
        shells.require_built(student)
        self.classes = batches.num_classes(student)
        taught = getattr(teacher, "output_shape", None)
        if isinstance(taught, tuple) and self.classes is not None:
            batches.require_as_many(taught, self.classes)
        self.student = student
        self.objective = objective
        self.seed = seed
        self.clip_norm = clip_norm
        # In a partial, Keras does not take the teacher's weights for the shell's.
        self._ask = teacher and functools.partial(teacher, training=False)
        self.loss_metric = shells.measure("loss", better="down")
        self.accuracy_metric = shells.measure("accuracy", better="up")
        self.agreement_metric = shells.measure("teacher_agreement", better="up")
        self.built = True  # all weights are there

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys a training batch must have."""
        return ("image", *self.objective.needs)

    def per_example_loss(self, batch: dict, logits):
        """See `Objective.per_example`."""
        step = self.optimizer.iterations if self.objective.needs_step else 0
        return self.objective.per_example(batch, logits, seed=self.seed, step=step)

    def weighted_losses(self, batch: dict, logits):
        """The loss of each example and its weight, float32 [batch] each."""
        values = self.per_example_loss(batch, logits)
        values, own = values if self.objective.weighted else (values, 1.0)
        return values, own * _weights(batch)

    def completed(self, batch: dict) -> dict:
        """The batch with all that `complete` adds, and a live teacher's logits."""
        batch = batch if self.complete is None else self.complete(batch)
        if self._ask is None:
            return batch
        # As whoever labels a distillation set asks.
        logits = self._ask(ops.cast(batch["image"], "float32"))
        logits = ops.stop_gradient(ops.cast(logits, "float32"))
        return {**batch, "teacher_logits": logits}

    @property
    def asked(self):
        """See `Shell`."""
        return [self._ask.func] if self._ask else []

    def call(self, inputs, training=None):
        """Logits of a batch (a dict with "image") or of images alone."""
        images = inputs["image"] if isinstance(inputs, dict) else inputs
        return self.student(images, training=training)

    @property
    def means(self):
        """See `Shell`."""
        return [self.loss_metric, self.accuracy_metric, self.agreement_metric]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Mean loss of a batch plus regularisation (backends other than TensorFlow)."""
        x = self.completed(self.batch_of((x, y, sample_weight)))
        if training:
            self.require_needs(x)
        elif not set(self.needs) <= set(x):
            return ops.zeros(())
        batches.require_shapes(x, y_pred)
        per_example, weights = self.weighted_losses(x, y_pred)
        mean = ops.sum(per_example * weights) / ops.sum(weights)
        return mean + sum(self.losses)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the metrics that the batch has the data for and returns those."""
        return self.observe(self._seen(self.completed(x), y_pred))

    def learned(self, batch: dict) -> tuple:
        """See `Shell`; one device has the whole batch, or its values."""
        batch = self.completed(batch)
        self.require_needs(batch)
        logits = self(batch, training=True)
        batches.require_shapes(batch, logits)
        per_example, weights = self.weighted_losses(batch, logits)
        mean = ops.sum(per_example * weights) / ops.sum(weights)
        seen = self._seen(batch, logits, (per_example, weights))
        return mean + sum(self.losses), seen

    def scored(self, batch: dict) -> Observed:
        """See `Shell`; batches without teacher logits give accuracy only."""
        return self._seen(batch, self(batch, training=False))

    def _seen(self, batch, logits, weighted=None) -> Observed:
        batches.require_shapes(batch, logits)
        weights, seen = _weights(batch), {}
        if weighted is None and set(self.needs) <= set(batch):
            weighted = self.weighted_losses(batch, logits)
        if weighted is not None:
            seen["loss"] = weighted
        if "label" in batch:
            seen["accuracy"] = losses.correct(batch["label"], logits), weights
        if "teacher_logits" in batch:
            same = losses.same_top_1(batch["teacher_logits"], logits)
            seen["teacher_agreement"] = same, weights
        if not seen:
            raise UserError(
                f"{type(self).__name__} was given batches of {sorted(batch)}, which "
                "have nothing to score by; add 'label' or 'teacher_logits'"
            )
        return seen

    if ON_TENSORFLOW:

        def train_step(self, batch):
            """One update by the global mean loss; returns the running metrics."""
            batch = self.completed(self.batch_of(batch))
            self.require_needs(batch)
            context = tf.distribute.get_replica_context()
            with tf.GradientTape() as tape:
                logits = self(batch, training=True)
                batches.require_shapes(batch, logits)
                per_example, weights = self.weighted_losses(batch, logits)
                with tape.stop_recording():
                    total_weight = context.all_reduce("SUM", ops.sum(weights))
                loss = ops.sum(per_example * weights) / total_weight
                # Every replica adds the whole penalty, and gradients are summed.
                penalty = sum(self.losses) / context.num_replicas_in_sync
                loss = self.optimizer.scale_loss(loss + penalty)
            gradients = tape.gradient(loss, self.trainable_variables)
            if self.clip_norm is not None:
                longest = self.optimizer.scale_loss(self.clip_norm)
                gradients = _clipped(gradients, context, longest)
            if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
                gradients = _finite_everywhere_or_nowhere(gradients, context)
            self.optimizer.apply(gradients, self.trainable_variables)
            seen = self._seen(batch, logits, (per_example, weights))
            return self.observe(seen)

        def test_step(self, batch):
            """Scores a batch; batches without teacher logits give accuracy only."""
            return self.observe(self.scored(self.batch_of(batch)))

        def _given(self, *given):
            return for_replicas(self, super()._given(*given))


class Door(StudentModel):
    """A `StudentModel` of one kind of objective, whose settings are keywords too."""

    kind: type[Objective]

    def __init__(self, student, **options):
        names = objectives.settings(self.kind)
        settings = {name: options.pop(name) for name in names if name in options}
        super().__init__(student, self.kind(**settings), **options)

    @classmethod
    def _around(cls, student, objective, options):
        return cls(student, **vars(objective), **options)


@_registered
class HardLabelModel(Door):
    """See `objectives.HardLabel`."""

    kind = objectives.HardLabel


@_registered
class LogitRegressionModel(Door):
    """See `objectives.LogitRegression`."""

    kind = objectives.LogitRegression


@_registered
class KnowledgeDistillationModel(Door):
    """See `objectives.KnowledgeDistillation`."""

    kind = objectives.KnowledgeDistillation


def _weights(batch):
    """float32 [batch]: the given weights, else ones."""
    if "weight" in batch:
        return ops.cast(batch["weight"], "float32")
    return ops.ones((ops.shape(next(iter(batch.values())))[0],), "float32")


def _clipped(gradients, context, longest):
    """Shortens every replica's gradients by what their sum is too long."""
    given = [gradient for gradient in gradients if gradient is not None]
    squares = [ops.sum(ops.square(g)) for g in context.all_reduce("SUM", given)]
    length = ops.sqrt(sum(squares))
    # A length that is not finite is left for the guards to see.
    factor = ops.where(length > longest, longest / length, 1.0)
    return [g if g is None else g * factor for g in gradients]


def _finite_everywhere_or_nowhere(gradients, context):
    """Makes all replicas skip the step if gradients overflow on one.

    Keras looks at the first replica's own gradients only, before it sums them.
    """
    if context.num_replicas_in_sync == 1:
        return gradients
    finite = [ops.all(ops.isfinite(g)) for g in gradients if g is not None]
    overflows = ops.cast(ops.logical_not(ops.all(ops.stack(finite))), "float32")
    somewhere = context.all_reduce("SUM", overflows) > 0
    factor = ops.where(somewhere, float("inf"), 1.0)
    return [g if g is None else g * factor for g in gradients]
