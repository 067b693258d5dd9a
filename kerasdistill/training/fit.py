"""Fits a shell: a schedule, resume, best weights and guards, on any engine."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.optimizers import schedules

from kerasdistill.errors import UserError
from kerasdistill.recipes.base import BornAgainTraining, Training
from kerasdistill.training import engines
from kerasdistill.training.board import write_views
from kerasdistill.training.epochs import EpochStream, FitResult, Row
from kerasdistill.training.loop import Epochs
from kerasdistill.training.muon import Muon


def fit(
    model: keras.Model,
    *,
    train: EpochStream,
    validation: Iterable[dict[str, Any]],
    training: Training,
    directory: Path,
    class_names: Sequence[str] = (),
    board: Path | None = None,
    enough: Callable[[Sequence[Row]], bool] | None = None,
    engine: engines.Engine | None = None,
) -> FitResult:
    """Trains `model` (a compiled-by-us shell), resuming from `directory`.

    After every epoch all variables of the shell (the student's, the shell's own, seed
    generators) and of the optimiser, schedule and history are written in one
    checkpoint; the next call continues after the last one. The student's weights of
    the epoch with the lowest validation error are kept and put back at the end.

    Args:
        model: a shell from `distillation_models`; weights of its own exist already.
        validation: batches of {"image", "label"[, "teacher_logits"]}; with the
            teacher's logits every epoch also tells the agreement with it.
        directory: the run's folder; gets checkpoints/ and metrics.csv.
        class_names: what TensorBoard calls the views of the first batch.
        board: where TensorBoard's files go (None: tensorboard/ in the directory).
        enough: see `Epochs`.
        engine: what runs the epochs (None: that of Keras' backend).

    Raises:
        UserError: a schedule other than the paper's without a number of epochs, or
            no validation images.
        DivergedError: a loss that is not finite.
    """
    if next(iter(validation), None) is None:
        raise UserError(
            "there are no validation images, by which the best epoch is chosen; give a "
            "larger data set"
        )
    engine = engine or engines.current()
    rate = _rate(training, train.steps_per_epoch)
    engine.compile(model, lambda: _optimizer(training, rate))
    model.complete = train.complete
    # Metrics and seed generators create their state when first used.
    train.prepare(0)
    batch = next(iter(train.batches(0)))
    first = model.completed({name: np.asarray(batch[name]) for name in batch})
    model(first, training=False)
    board = board or directory / "tensorboard"
    how = {"enough": enough, "board": board, "rate": rate}
    epochs = Epochs(model, training, directory, train, engine, **how)
    if not epochs.finished:
        write_views(board / "train", first, class_names=class_names)
        epochs.run(validation)
    return epochs.finish()


def _rate(
    training: Training, steps_per_epoch: int
) -> float | schedules.LearningRateSchedule:
    if training.schedule == "paper":
        return training.learning_rate
    if training.epochs is None:
        raise UserError(
            f"a {training.schedule} schedule needs a number of epochs; add "
            "`epochs=N` or use `schedule='paper'`"
        )
    scheduled = {"cosine": _cosine, "linear": _linear, "steps": _stepped}
    return scheduled[training.schedule](training, steps_per_epoch)


def _optimizer(
    training: Training, rate: float | schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    if training.optimizer == "muon":
        return Muon(rate, training.momentum, batch_size=training.batch_size)
    return keras.optimizers.SGD(rate, momentum=training.momentum, nesterov=True)


def _cosine(training: Training, steps_per_epoch: int):
    rate, steps = training.learning_rate, training.epochs * steps_per_epoch
    warmup = min(steps_per_epoch, steps // 10)
    return schedules.CosineDecay(
        0.1 * rate, steps - warmup, warmup_target=rate, warmup_steps=warmup
    )


def _linear(training: Training, steps_per_epoch: int):
    steps = training.epochs * steps_per_epoch
    return schedules.PolynomialDecay(training.learning_rate, steps, 0.0)


def _stepped(training: BornAgainTraining, steps_per_epoch: int):
    steps = training.epochs * steps_per_epoch
    # Keras keeps a rate for the step at its boundary, counted from 0, too.
    boundaries = [round(fraction * steps) - 1 for fraction in training.milestones]
    drops = range(len(boundaries) + 1)
    rates = [training.learning_rate * training.decay**drop for drop in drops]
    return schedules.PiecewiseConstantDecay(boundaries, rates)
