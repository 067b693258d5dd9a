"""What all shells are to Keras: what they take, and how they are compiled and saved.

A shell trains its `student`, another model, in place, by an `objective`. Keras' `fit`,
callbacks, `save` and `load_weights` work as with any model; what a shell has no use for
is refused by name instead of left without effect.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops
from keras.src.trainers.compile_utils import MetricsList  # where callbacks look

from kerasdistill.errors import UserError
from kerasdistill.objectives import OBJECTIVES, Objective
from kerasdistill.training import batches

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
ON_JAX = keras.backend.backend() == "jax"

# What metrics see of a batch, by their names: a number of each example, and weights.
Observed = dict[str, tuple[Any, Any]]


class Shell(keras.Model):
    """A model that trains another one; its weights exist once it does.

    A file of `save`, or of `ModelCheckpoint`, has the student, the objective and the
    optimizer, but not the teachers: give those to a new shell around the `student` of
    the one that was loaded.

    Attributes:
        student: what is trained.
        objective: what an example costs.
        clip_norm: longest gradient (None: any).
        classes: its outputs (None: unknown).
        needs: keys that a training batch must have.
        asked: the teachers that every step calls.
        means: the loss's running mean, then those of which more is better.
        kept: options, by their attributes' names, that files have too.
    """

    student: keras.Model
    objective: Objective
    clip_norm: float | None
    classes: int | None = None
    needs: tuple[str, ...]
    asked: Sequence[Callable] = ()
    means: Sequence[keras.metrics.Mean]
    kept: tuple[str, ...] = ("clip_norm",)

    def learned(self, batch: dict) -> tuple[Any, Observed]:
        """The loss of a training batch, whole and with penalties, and what was seen."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of a batch")

    def scored(self, batch: dict) -> Observed:
        """What is seen of a batch in inference mode."""
        raise NotImplementedError(f"{type(self).__name__} scores no batches")

    def observe(self, observed: Observed) -> dict[str, Any]:
        """Updates the metrics that saw something; their results."""
        seen = [metric for metric in self.means if metric.name in observed]
        for metric in seen:
            values, weights = observed[metric.name]
            metric.update_state(values, sample_weight=weights)
        return {metric.name: metric.result() for metric in seen}

    @property
    def teachers_variables(self) -> list:
        """Of the models that every step asks, which are no part of this one."""
        return [v for teacher in self.asked for v in getattr(teacher, "variables", ())]

    if ON_JAX:

        def train_step(self, state, data):
            """One update; the running metrics and the new state."""
            from kerasdistill.training.engines.jax_steps import updated

            _, state = updated(self, state, self.batch_of(data))
            mapping = list(zip(self.metrics_variables, state[-1], strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return {mean.name: mean.result() for mean in self.means}, state

    def compile(
        self,
        optimizer=None,
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        **options,
    ):
        """`keras.Model.compile`, of the optimizer alone: the objective is the loss."""
        name = type(self).__name__
        others = (loss, loss_weights, metrics, weighted_metrics)
        words = ("loss", "loss_weights", "metrics", "weighted_metrics")
        for word, value in zip(words, others, strict=True):
            if value is not None:
                measured = ", ".join(mean.name for mean in self.means)
                raise UserError(
                    f"{name}.compile was given {word}; its loss is its objective, "
                    f"{self.objective.name}, and it measures {measured}: give the "
                    "optimizer alone, and measure the rest on model.student"
                )
        if optimizer is None:
            raise UserError(
                f"{name}.compile was given no optimizer; give one, such as "
                "keras.optimizers.SGD(1e-3, momentum=0.9)"
            )
        optimizer = keras.optimizers.get(optimizer)
        if self.clip_norm is not None and not ON_TENSORFLOW:
            optimizer = _clipping(optimizer, self.clip_norm)
        super().compile(optimizer=optimizer, **options)

    def compile_from_config(self, config):
        """Compiles as the model was that a file is of."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        """The metrics that Keras resets at the start of each epoch."""
        loss, *others = self.means
        return [loss, MetricsList(others)]

    def get_metrics_result(self):
        """Results, over all replicas, of the metrics that saw examples."""
        # Keras prefers these to the last step's logs, which are a mean of the
        # replicas' own running means, only if both have the same keys.
        seen = [m for m in self.means if float(ops.convert_to_numpy(m.count)) > 0]
        return {metric.name: metric.result() for metric in seen}

    def batch_of(self, data: Any) -> dict:
        """The dict in what Keras hands to a step; UserError if it is anything else."""
        first, *others = data if isinstance(data, tuple | list) else (data,)
        others = [other for other in others if other is not None]
        if isinstance(first, dict) and not others:
            return first
        came = f"a tuple of {len(others) + 1}" if others else type(first).__name__
        expected = ", ".join(f'"{key}": …' for key in self.needs)
        raise UserError(
            f"{type(self).__name__} was given {came}; expected batches that are dicts, "
            f"{{{expected}}}: bring them into that form, as with Dataset.map"
        )

    def require_needs(self, batch: dict) -> None:
        """UserError that names what a training batch lacks."""
        if missing := [key for key in self.needs if key not in batch]:
            raise UserError(
                f"{type(self).__name__} was given batches of {sorted(batch)}; "
                f"it also needs {missing[0]!r}"
            )

    def fit(
        self,
        x=None,
        y=None,
        *args,
        validation_data=None,
        class_weight=None,
        sample_weight=None,
        **kwargs,
    ):
        """`keras.Model.fit`; every replica has a share of every batch, a dict.

        `class_weight`, by the batch's "label", and `sample_weight` are multiplied into
        the batch's own "weight", which counts in losses and metrics alike.
        """
        if batches.is_dataset(x):
            kwargs.setdefault("shuffle", False)  # Keras can't, and warns of it
        x = self._given(x, y, class_weight, sample_weight)
        if validation_data is not None:
            kwargs["validation_data"] = self._given(validation_data)
        with self._labels_explained():
            return super().fit(x, None, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, sample_weight=None, **kwargs):
        """`keras.Model.evaluate`; every replica has a share of every batch."""
        x = self._given(x, y, None, sample_weight)
        with self._labels_explained():
            return super().evaluate(x, None, *args, **kwargs)

    def _given(self, x, y=None, class_weight=None, sample_weight=None):
        data = x if y is None else (x, y)
        data = batches.checked(data, self.batch_of, self.needs[0], classes=self.classes)
        return batches.weighed(data, class_weight, sample_weight)

    @contextlib.contextmanager
    def _labels_explained(self) -> Iterator[None]:
        """On TensorFlow's processors, labels out of range fail in the middle of it."""
        try:
            yield
        except Exception as error:
            came = re.search(r"label value of (-?\d+)", str(error))
            if not came or self.classes is None:
                raise
            raise batches.out_of_range(came[1], self.classes) from error

    def get_config(self):
        """What `from_config` makes the shell of, its teachers left out."""
        if OBJECTIVES.get(self.objective.name) is not type(self.objective):
            raise UserError(
                f"objective {self.objective.name!r} can't be saved, because it is not "
                "in kerasdistill.objectives.OBJECTIVES; add it there, or save the "
                "student alone with model.student.save(…)"
            )
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "objective": dataclasses.asdict(self.objective),
            **{name: getattr(self, name) for name in self.kept},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A shell without teachers; UserError if its objective is unknown."""
        config = dict(config)
        student = keras.saving.deserialize_keras_object(
            config.pop("student"), custom_objects=custom_objects
        )
        settings = dict(config.pop("objective"))
        if (name := settings.pop("name")) not in OBJECTIVES:
            raise UserError(
                f"the saved objective is {name!r}; expected one of "
                f"{', '.join(OBJECTIVES)}: before loading, add it to "
                "kerasdistill.objectives.OBJECTIVES"
            )
        return cls._around(student, OBJECTIVES[name](**settings), config)

    @classmethod
    def _around(cls, student, objective: Objective, options: dict) -> "Shell":
        return cls(student, objective, **options)


def measure(name: str, *, better: str) -> keras.metrics.Mean:
    """A mean of which callbacks know whether "up" or "down" is better."""
    mean = keras.metrics.Mean(name=name)
    mean._direction = better  # as Keras' own metrics say it
    return mean


def require_built(student: keras.Model) -> None:
    """UserError if there are no weights to train yet."""
    if not student.built:
        raise UserError(
            f"student {student.name} has no weights yet, as its input's shape is not "
            "known; begin it with keras.Input(shape), or call it on a batch first"
        )


def _clipping(optimizer: keras.Optimizer, norm: float) -> keras.Optimizer:
    """A copy that clips: Keras' own train step leaves that to its optimizer."""
    config, options = optimizer.get_config(), ("clipnorm", "clipvalue")
    own = {name: config.get(name) for name in (*options, "global_clipnorm")}
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scaled or not {*own.values()} <= {None, norm} or any(map(own.get, options)):
        raise UserError(
            f"clip_norm {norm} was given beside an optimizer ({optimizer.name}) that "
            "clips or scales gradients itself; give one of the two"
        )
    return type(optimizer).from_config({**config, "global_clipnorm": norm})
