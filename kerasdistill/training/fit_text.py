"""`fit` for language models: perplexity, and checkpoints within epochs."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import DivergedError
from kerasdistill.recipes.base import TextTraining
from kerasdistill.training import engines
from kerasdistill.training.engines import Engine, Session
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.loop import Epochs
from kerasdistill.training.perplexity import perplexity
from kerasdistill.training.schedules import PerplexitySchedule

CHECKPOINT_SECONDS = 600.0  # the paper's LSTM takes hours for an epoch on two cores


def fit_text(
    model: LanguageModel,
    *,
    train: EpochStream,
    validate: Callable[[], float],
    training: TextTraining,
    directory: Path,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    engine: Engine | None = None,
) -> FitResult:
    """Trains `model`, resuming from `directory`; see `fit.fit`.

    Args:
        model: a shell from `language_models`.
        train: its examples are words; the first window of an epoch "begins".
        validate: the student's mean -log p of the validation text's words.
        training: learning rate, schedule, epochs.
        directory: the run's folder; gets checkpoints/, metrics.csv, tensorboard/.
        checkpoint_seconds: at most so much work within an epoch is lost.
        engine: what runs the epochs (None: that of Keras' backend).

    Returns:
        What was done; `val_score` is the best epoch's perplexity, rates are in words.
        The student has the best epoch's weights.

    Raises:
        DivergedError: a loss or a perplexity that is not finite.
    """
    engine = engine or engines.current()
    engine.compile(model, lambda: keras.optimizers.SGD(training.learning_rate))
    epochs = PerplexityEpochs(
        model, training, directory, train, engine, validate, checkpoint_seconds
    )
    if not epochs.finished:
        epochs.run()
    return epochs.finish()


class PerplexityEpochs(Epochs):
    """`Epochs` for language models; also checkpoints within an epoch."""

    shown = ("loss", "perplexity", "val_perplexity")

    def __init__(
        self,
        model: LanguageModel,
        training: TextTraining,
        directory: Path,
        train: EpochStream,
        engine: Engine,
        validate: Callable[[], float],
        checkpoint_seconds: float,
    ):
        self.first_schedule = PerplexitySchedule(training.decay, training.least_gain)
        self._before = 0.0  # seconds that an interrupted process gave to it
        self._sums: list[Any] = []  # its metrics so far
        self._validate = validate
        self._checkpoint_seconds = checkpoint_seconds
        super().__init__(model, training, directory, train, engine)

    def begin(self) -> None:
        """Takes an interrupted epoch's clock and metrics up again."""
        super().begin()
        self._saved = time.monotonic()
        self._began -= self._before
        for variable, value in zip(self._metric_variables(), self._sums, strict=False):
            variable.assign(value)
        self._before, self._sums = 0.0, []

    def after_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Also writes a checkpoint, now and then."""
        super().after_step(step, metrics)
        left = step + 1 < self._train.steps_per_epoch
        if left and time.monotonic() - self._saved >= self._checkpoint_seconds:
            self._guard(step, metrics)
            spent = time.monotonic() - self._began
            self._save_last(windows=step + 1, spent=spent)
            self._saved = time.monotonic()

    def validated(
        self, metrics: dict[str, float], session: Session
    ) -> dict[str, float]:
        """Scores the validation text; losses become perplexities."""
        self.first_step = 0
        nats = self._validate()
        if not math.isfinite(perplexity(nats)):
            raise DivergedError(
                f"the validation text's loss is {nats} after step "
                f"{(self.epoch + 1) * self._train.steps_per_epoch} "
                f"(epoch {self.epoch + 1}) of {self._training}"
            )
        return {
            **{name: value for name, value in metrics.items() if name != "label_loss"},
            "perplexity": perplexity(metrics["label_loss"]),
            "val_loss": nats,
            "val_perplexity": perplexity(nats),
        }

    def error(self, row: dict[str, float]) -> float:
        """Validation perplexity."""
        return row["val_perplexity"]

    def best(self) -> float:
        """The lowest validation perplexity."""
        return self._schedule.best_error

    def finish(self) -> FitResult:
        """As of `Epochs`, with a perplexity for the score."""
        return replace(super().finish(), val_score=self._schedule.best_error)

    def _metric_variables(self) -> list:
        metrics = self._shell.metrics
        return [variable for metric in metrics for variable in metric.variables]

    def _variables(self) -> list:
        return [*super()._variables(), *self._metric_variables()]

    def _resume(self) -> dict | None:
        state = super()._resume()
        if state and state.get("windows"):
            self.first_step, self._before = state["windows"], state["spent"]
            values = map(keras.ops.convert_to_numpy, self._metric_variables())
            self._sums = list(values)
        return state
