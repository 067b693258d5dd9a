"""Shells that train a language model window by window, its state carried over.

Batches are {"ids", "targets" int32 [B, T], "weights" float32 [B, T], "begins" bool []
(the streams start anew)}, and with a stored signal "teacher_ids" int32 and
"teacher_log_probabilities" float32 [B, T, K]. The loss of a step is summed over the
window and averaged over the B streams (docs/papers/born-again.md), then gradients are
shortened to `clip_norm`.
"""

import functools
from collections.abc import Sequence

import keras
from keras import ops

from kerasdistill import losses
from kerasdistill.errors import UserError
from kerasdistill.models import language
from kerasdistill.objectives import HardLabel, Objective
from kerasdistill.training import shells

if shells.ON_TENSORFLOW:
    import tensorflow as tf

_WINDOW = ("ids", "targets", "weights", "begins")
_STORED = ("teacher_ids", "teacher_log_probabilities")


@keras.saving.register_keras_serializable("kerasdistill")
class LanguageModel(shells.Shell):
    """Learns the next word by an objective, from labels, teachers or both.

    Args:
        student: see `models.lstm`.
        objective: one of `objectives.TEXTS`, at temperature 1 (None: of labels).
        streams: B.
        clip_norm: longest gradient over all weights (None: any).
        teachers: language models of the same vocabulary, called in every step; their
            probabilities are averaged. They carry states of their own.
    """

    kept = ("streams", "clip_norm")

    def __init__(
        self,
        student: keras.Model,
        objective: Objective | None = None,
        *,
        streams: int,
        clip_norm: float | None = None,
        teachers: Sequence[keras.Model] = (),
        **options,
    ):
        if not (shells.ON_TENSORFLOW or shells.ON_JAX):
            raise UserError(
                f"Keras' backend is {keras.backend.backend()}; {type(self).__name__} "
                "needs KERAS_BACKEND tensorflow or jax"
            )
        for model in (student, *teachers):
            _require_windows(model, words=student.outputs[0].shape[-1])
        super().__init__(autocast=False, **options)
        self.student = student
        self.streams = streams
        self.objective = objective or HardLabel()
        self.clip_norm = clip_norm
        # In partials, Keras does not take the teachers' weights for the shell's.
        self._ask = [functools.partial(each, training=False) for each in teachers]
        zeros = {"initializer": "zeros", "trainable": False, "name": "state"}
        self.carried = [
            [self.add_weight(v.shape, **zeros) for v in language.start(model, streams)]
            for model in (student, *teachers)
        ]
        self.built = True  # all weights are there
        self.loss_metric = shells.measure("loss", better="down")
        self.label_metric = shells.measure("label_loss", better="down")

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys a training batch must have."""
        stored = self.objective.learns_from_teacher and not self._ask
        return (*_WINDOW, *_STORED) if stored else _WINDOW

    @property
    def asked(self):
        """See `Shell`."""
        return [ask.func for ask in self._ask]

    @property
    def means(self):
        """See `Shell`."""
        return [self.loss_metric, self.label_metric]

    def call(self, inputs, training=None):
        """Logits [B, T, V] of a batch, from the carried state, which moves on."""
        return self._advance(self.student, self.carried[0], inputs, training=training)

    def learned(self, batch: dict) -> tuple:
        """See `Shell`; the loss is summed over the window's words."""
        self.require_needs(batch)
        words = self._words(batch)
        weights = ops.reshape(batch["weights"], (-1,))
        streams = ops.cast(ops.shape(batch["ids"])[0], "float32")
        logits = _flat(self(batch, training=True))
        each = self.objective.per_example(words, logits)
        labels = losses.hard_label(words["label"], logits)
        seen = {"loss": (each, weights), "label_loss": (labels, weights)}
        return ops.sum(each * weights) / streams, seen

    if shells.ON_TENSORFLOW:

        def train_step(self, batch):
            """One update; returns the running means per word."""
            batch = self.batch_of(batch)
            with tf.GradientTape() as tape:
                loss, seen = self.learned(batch)
            gradients = tape.gradient(loss, self.student.trainable_variables)
            if self.clip_norm is not None:
                gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm)
            self.optimizer.apply(gradients, self.student.trainable_variables)
            return self.observe(seen)

    def fit(self, *args, validation_data=None, **options):
        """`keras.Model.fit` of windows in their order, without validation."""
        if validation_data is not None:
            self.evaluate()  # now, not after an epoch
        return super().fit(*args, **options)

    def evaluate(self, *_, **__):
        """UserError: a text is not scored from where the training's streams are."""
        raise UserError(
            f"{type(self).__name__} takes no validation_data and has no evaluate, as "
            "its state is the training text's: score with training.perplexity.Scorer"
        )

    def _words(self, batch):
        """What the objective learns from, [B * T, ...], of a batch of [B, T, ...]."""
        words = {"label": ops.reshape(batch["targets"], (-1,))}
        if self._ask:
            teachers = zip(self._ask, self.carried[1:], strict=True)
            parts = [_flat(self._advance(*each, batch)) for each in teachers]
            if len(parts) > 1:  # one's logits do as well, with no pass over all words
                parts = [_log_mean([ops.log_softmax(part) for part in parts])]
            words["teacher_logits"] = parts[0]
        elif self.objective.learns_from_teacher:
            for name in _STORED:
                words[name] = _flat(batch[name])
        return words

    def _advance(self, model, carried, batch, **options):
        kept = ops.cast(ops.logical_not(batch["begins"]), "float32")
        states = [state * kept for state in carried]
        logits, *after = model([batch["ids"], *states], **options)
        for state, value in zip(carried, after, strict=True):
            state.assign(value)
        return logits


def _require_windows(model: keras.Model, *, words: int) -> None:
    """UserError unless it maps ids and states to logits of so many words and states."""
    shapes = [tuple(each.shape) for each in model.outputs]
    if len(shapes) != len(model.inputs) or [*shapes[0][1:]] != [None, words]:
        raise UserError(
            f"language model {model.name} maps {len(model.inputs)} inputs to {shapes}; "
            f"expected [ids, *states] to [logits [streams, window, {words}], *states], "
            "of one vocabulary: see kerasdistill.models.language"
        )


def answers(models: Sequence, ids, states: Sequence):
    """log of the mean of models' probabilities [B, T, V] of a window int32 [B, T].

    `states` are each model's before the window; those after it come second.
    """
    parts, after = [], []
    for model, before in zip(models, states, strict=True):
        logits, *new = model([ids, *before], training=False)
        parts.append(ops.log_softmax(logits))
        after.append(new)
    return _log_mean(parts), after


def _log_mean(log_probabilities: Sequence):
    if len(log_probabilities) == 1:
        return log_probabilities[0]
    stacked = ops.stack(log_probabilities)
    return ops.logsumexp(stacked, axis=0) - ops.log(float(len(log_probabilities)))


def _flat(logits):
    return ops.reshape(logits, (-1, logits.shape[-1]))
