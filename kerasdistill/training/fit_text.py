"""`fit` for language models: perplexity, and checkpoints within epochs."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import keras

from kerasdistill.recipes.base import TextTraining
from kerasdistill.training import engines
from kerasdistill.training.engines import Session
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
    engine: engines.Engine | None = None,
) -> FitResult:
    """Trains `model`, a shell from `language_models`, resuming from `directory`.

    Args:
        model: its student gets the best epoch's weights.
        train: its examples are words; the first window of an epoch "begins".
        validate: the student's mean -log p of the validation text's words.
        training: learning rate, schedule, epochs.
        directory: the run's folder, see `fit.fit`.
        checkpoint_seconds: at most so much work within an epoch is lost.
        engine: what runs the epochs (None: that of Keras' backend).

    Returns:
        What was done; `val_score` is the best epoch's perplexity, rates are in words.

    Raises:
        DivergedError: a loss or a perplexity that is not finite.
    """
    engine = engine or engines.current()
    engine.compile(model, lambda: keras.optimizers.SGD(training.learning_rate))
    options = {"validate": validate, "checkpoint_seconds": checkpoint_seconds}
    epochs = PerplexityEpochs(model, training, directory, train, engine, **options)
    if not epochs.finished:
        epochs.run()
    return epochs.finish()


@dataclass(eq=False)
class PerplexityEpochs(Epochs):
    """`Epochs` whose validation is one number, of a text."""

    _: KW_ONLY
    validate: Callable[[], float]

    shown = ("loss", "perplexity", "val_perplexity")

    def first_schedule(self) -> PerplexitySchedule:
        return PerplexitySchedule(self.training.decay, self.training.least_gain)

    def validated(
        self, metrics: dict[str, float], session: Session
    ) -> dict[str, float]:
        """Scores the validation text; losses become perplexities."""
        nats, label_loss = self.validate(), metrics.pop("label_loss")
        if not math.isfinite(perplexity(nats)):
            step = (self.epoch + 1) * self.train.steps_per_epoch
            what = f"the validation text's loss is {nats} after step {step}"
            raise self._diverged(what)
        return {
            **metrics,
            "perplexity": perplexity(label_loss),
            "val_loss": nats,
            "val_perplexity": perplexity(nats),
        }

    def error(self, row: dict[str, float]) -> float:
        return row["val_perplexity"]

    def best(self) -> float:
        """The lowest validation perplexity."""
        return self._schedule.best_error

    def _variables(self) -> list:
        """Of the metrics too: a checkpoint may be of the middle of an epoch."""
        metrics = self.shell.metrics
        return super()._variables() + [v for m in metrics for v in m.variables]
