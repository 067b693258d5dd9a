"""`fit` for language models: perplexity, and checkpoints within epochs."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import keras

from kerasdistill.recipes.base import TextTraining
from kerasdistill.training import engines
from kerasdistill.training.engines import Session
from kerasdistill.training.epochs import EpochStream, FitResult, Row
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.loop import Epochs
from kerasdistill.training.perplexity import perplexity
from kerasdistill.training.schedules import PerplexitySchedule


def fit_text(
    model: LanguageModel,
    *,
    train: EpochStream,
    validate: Callable[[], float],
    training: TextTraining,
    directory: Path,
    checkpoint_seconds: float = 600.0,
    board: Path | None = None,
    engine: engines.Engine | None = None,
) -> FitResult:
    """As `fit.fit`, of a shell from `language_models`.

    Args:
        train: its examples are words; the first window of an epoch "begins".
        validate: the student's mean -log p of the validation text's words.
        checkpoint_seconds: at most so much work within an epoch is lost; the paper's
            LSTM takes hours for an epoch on two cores.
        board: where TensorBoard's files go (None: tensorboard/ in the directory).

    Returns:
        What was done; `val_score` is the best epoch's perplexity, rates are in words.

    Raises:
        DivergedError: a loss or a perplexity that is not finite.
    """
    engine = engine or engines.current()
    engine.compile(model, lambda: keras.optimizers.SGD(training.learning_rate))
    epochs = PerplexityEpochs(
        model,
        training,
        directory,
        train,
        engine,
        board=board,
        checkpoint_seconds=checkpoint_seconds,
        schedule=PerplexitySchedule(training.decay, training.least_gain),
        validate=validate,
    )
    if not epochs.finished:
        epochs.run()
    return epochs.finish()


@dataclass(eq=False)
class PerplexityEpochs(Epochs):
    """`Epochs` whose validation is one number, of a text."""

    _: KW_ONLY
    validate: Callable[[], float]

    shown = ("loss", "perplexity", "val_perplexity")

    def validated(self, metrics: Row, session: Session) -> Row:
        """Scores the validation text; losses become perplexities."""
        nats, label_loss = self.validate(), metrics.pop("label_loss")
        if not math.isfinite(perplexity(nats)):
            what = f"the validation text's loss is {nats} after"
            raise self._diverged(what, self.train.steps_per_epoch)
        return {
            **metrics,
            "perplexity": perplexity(label_loss),
            "val_loss": nats,
            "val_perplexity": perplexity(nats),
        }

    def error(self, row: Row) -> float:
        return row["val_perplexity"]

    def best(self) -> float:
        """The lowest validation perplexity."""
        return self.schedule.best_error

    def _variables(self) -> list:
        """Of the metrics too: a checkpoint may be of the middle of an epoch."""
        metrics = self.shell.metrics
        return super()._variables() + [v for m in metrics for v in m.variables]
