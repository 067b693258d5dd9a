"""`fit` for language models: perplexity, and checkpoints within epochs."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import DivergedError
from kerasdistill.recipes.base import TextTraining
from kerasdistill.training.board import Board
from kerasdistill.training.epochs import Epochs, EpochStream, FitResult
from kerasdistill.training.language_models import LanguageModel
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
) -> FitResult:
    """Trains `model`, resuming from `directory`; see `fit.fit`.

    Args:
        model: a shell from `language_models`.
        train: its examples are words; the first window of an epoch "begins".
        validate: the student's mean -log p of the validation text's words.
        training: learning rate, schedule, epochs.
        directory: the run's folder; gets checkpoints/, metrics.csv, tensorboard/.
        checkpoint_seconds: at most so much work within an epoch is lost.

    Returns:
        What was done; `val_score` is the best epoch's perplexity, rates are in words.
        The student has the best epoch's weights.

    Raises:
        DivergedError: a loss or a perplexity that is not finite.
    """
    model.compile(optimizer=keras.optimizers.SGD(training.learning_rate))
    model.optimizer.build(model.student.trainable_variables)
    epochs = PerplexityEpochs(
        model, training, directory, train, validate, checkpoint_seconds
    )
    if not epochs.finished:
        shown = directory / "tensorboard"
        with (
            contextlib.closing(epochs),
            contextlib.closing(Board(shown)) as board,
        ):
            callbacks = [epochs, board]
            if epochs.windows:  # what is left of an interrupted epoch, first
                _run(model, train, callbacks, first=epochs.epoch, last=epochs.epoch + 1)
            if not epochs.finished:
                _run(model, train, callbacks, first=epochs.epoch, last=training.epochs)
    return epochs.finish()


def _run(
    model: LanguageModel, train: EpochStream, callbacks: list, *, first: int, last: int
) -> None:
    done = callbacks[0].windows
    model.fit(
        train.batches(first).skip(done),
        steps_per_epoch=train.steps_per_epoch - done,
        initial_epoch=first,
        epochs=last,
        callbacks=callbacks,
        verbose=0,
        shuffle=False,
    )


class PerplexityEpochs(Epochs):
    """`Epochs` for language models; also checkpoints within an epoch.

    Args:
        model: the shell.
        training: its recipe.
        directory: the run's folder.
        train: the windows.
        validate: see `fit_text`.
        checkpoint_seconds: see `fit_text`.
    """

    told = ("loss", "perplexity", "val_perplexity")

    def __init__(
        self,
        model: LanguageModel,
        training: TextTraining,
        directory: Path,
        train: EpochStream,
        validate: Callable[[], float],
        checkpoint_seconds: float,
    ):
        self.first_schedule = PerplexitySchedule(training.decay, training.least_gain)
        self.windows = 0  # done of the epoch under way
        self._before = 0.0  # seconds that an interrupted process gave to it
        self._sums: list[Any] = []  # its metrics so far
        self._validate = validate
        self._checkpoint_seconds = checkpoint_seconds
        super().__init__(model, training, directory, train)

    def on_epoch_begin(self, epoch, logs=None):
        """Takes an interrupted epoch's clock and metrics up again."""
        super().on_epoch_begin(epoch, logs)
        self._saved = time.monotonic()
        self._began -= self._before
        self._bar.update(self.windows)
        for variable, value in zip(self._metric_variables(), self._sums, strict=False):
            variable.assign(value)
        self._skipped, self._before, self._sums = self.windows, 0.0, []

    def on_train_batch_end(self, batch, logs=None):
        """Also writes a checkpoint, now and then."""
        super().on_train_batch_end(batch, logs)
        self.windows = self._skipped + batch + 1
        left = self.windows < self._train.steps_per_epoch
        if left and time.monotonic() - self._saved >= self._checkpoint_seconds:
            self._guard(batch, logs)
            spent = time.monotonic() - self._began
            self._save_last(windows=self.windows, spent=spent)
            self._saved = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Scores the validation text, then as ever."""
        self.on_test_begin()
        self.windows = 0
        nats = self._validate()
        if not math.isfinite(perplexity(nats)):
            raise DivergedError(
                f"the validation text's loss is {nats} after step "
                f"{(self.epoch + 1) * self._train.steps_per_epoch} (epoch {epoch + 1}) "
                f"of {self._training}"
            )
        label_loss = float(logs.pop("label_loss"))
        logs["perplexity"] = perplexity(label_loss)
        logs["val_loss"], logs["val_perplexity"] = nats, perplexity(nats)
        super().on_epoch_end(epoch, logs)

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
        carried = [state for states in self._shell.carried for state in states]
        return [*super()._variables(), *carried, *self._metric_variables()]

    def _resume(self) -> dict | None:
        state = super()._resume()
        if state and state.get("windows"):
            self.windows, self._before = state["windows"], state["spent"]
            values = map(keras.ops.convert_to_numpy, self._metric_variables())
            self._sums = list(values)
        return state
