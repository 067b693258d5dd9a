"""The loop over epochs, the same on every engine, and what it does between them."""

import csv
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import requests
from kerasdistill.errors import DivergedError, StaleArtifactError
from kerasdistill.files import write_atomic
from kerasdistill.recipes.base import Training
from kerasdistill.terminal import say
from kerasdistill.training import checkpoint, trackers
from kerasdistill.training.board import Board
from kerasdistill.training.engines import Engine, Session
from kerasdistill.training.epochs import EpochStream, FitResult, Row
from kerasdistill.training.progress import EpochProgress
from kerasdistill.training.schedules import PaperSchedule, PerplexitySchedule

GUARD_EVERY = 50  # steps between looks at the loss: a look waits for the device


@dataclass(eq=False)
class Epochs:
    """Trains epoch by epoch; everything at an epoch's end comes in one fixed order.

    It touches the model by its Keras variables alone; `Session` does the rest.

    Attributes:
        enough: ends the training early where it is true of the history, a row of
            metrics an epoch.
        board: where TensorBoard's files go (None: tensorboard/ in the directory).
        checkpoint_seconds: at most so much work within an epoch is lost.
        schedule: as it begins, and then as it is after the last epoch.
        rate: see `EpochProgress`.
    """

    shell: keras.Model
    training: Training
    directory: Path
    train: EpochStream
    engine: Engine
    _: KW_ONLY
    enough: Callable[[Sequence[Row]], bool] | None = None
    board: Path | None = None
    checkpoint_seconds: float = math.inf
    schedule: PaperSchedule | PerplexitySchedule = PaperSchedule()
    rate: Callable[[int], Any] | float = 0.0

    # What a line about an epoch shows; the last that is there chooses the best epoch.
    shown = (
        "loss",
        "accuracy",
        "teacher_agreement",
        "val_teacher_agreement",
        "val_accuracy",
    )

    def __post_init__(self):
        self._checkpoints = self.directory / "checkpoints"
        self._history: list[Row] = []
        how = (self.train.steps_per_epoch, self.training.epochs, self.shown, self.rate)
        self._progress = EpochProgress(*how)
        # What an interrupted process did of the epoch to come.
        self._first_step, self._spent = 0, 0.0
        self._resume()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self._history)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        epochs = self.training.epochs
        if epochs is not None and self.epoch >= epochs:
            return True
        if self.enough is not None and self._history and self.enough(self._history):
            return True
        return self.training.schedule == "paper" and self.schedule.stop

    def run(self, validation: Iterable[dict[str, Any]] | None = None) -> None:
        """Trains until `finished`; every epoch gets a point on TensorBoard's curves."""
        session = self.engine.session(
            self.shell,
            self.train,
            validation=validation,
            first_epoch=self.epoch,
            first_step=self._first_step,
            epochs=self.training.epochs,
        )
        board = Board(self.board or self.directory / "tensorboard")
        try:
            while not self.finished:
                self.begin()
                steps = range(self._first_step, self.train.steps_per_epoch)
                metrics = session.train(steps, self.after_step)
                train_seconds = time.monotonic() - self._began
                self._first_step, self._spent = 0, 0.0
                metrics = self.end(self.validated(metrics, session), train_seconds)
                board.write(self.epoch, metrics)
                trackers.progress(self.directory, self._history)
        finally:
            self._progress.close()
            session.close()
            board.close()

    def finish(self) -> FitResult:
        """Puts the best weights back and sums up."""
        trackers.progress(self.directory, self._history)  # a kill may have come before
        checkpoint.load(self._best_path, self.shell.student.variables)
        train_seconds = sum(row["train_seconds"] for row in self._history)
        seen = self.train.examples_per_epoch * self.epoch
        return FitResult(
            epochs=self.epoch,
            best_epoch=self.schedule.best_epoch,
            val_score=self.best(),
            seconds=sum(row["seconds"] for row in self._history),
            images_per_second=seen / train_seconds,
            history=tuple(self._history),
        )

    def begin(self) -> None:
        """Starts the clock and the bar; the metrics of a new epoch are zero."""
        if not self._first_step:
            self.shell.reset_metrics()
        self._saved = time.monotonic()
        self._began = self._saved - self._spent
        self._progress.begin(self.epoch + 1, done=self._first_step)
        self.train.prepare(self.epoch)

    def after_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Moves the bar; now and then checks the loss and writes a checkpoint."""
        done, now = step + 1, time.monotonic()
        self._progress.step(self.epoch + 1, done=done)
        unfinished = done < self.train.steps_per_epoch
        due = unfinished and now - self._saved >= self.checkpoint_seconds
        known = isinstance(metrics["loss"], float)
        if due or known or done % GUARD_EVERY == 0:
            self._guard(step, metrics)
        if due:
            self.train.check()
            self._save_last(windows=done, spent=now - self._began)
            self._saved = time.monotonic()

    def validated(self, metrics: Row, session: Session) -> Row:
        """The training's metrics and those on the validation data."""
        self.shell.reset_metrics()
        return metrics | session.validate()

    def end(self, metrics: Row, train_seconds: float) -> Row:
        """Checks, records, schedules and checkpoints.

        To the metrics it adds the learning rate, a schedule's of the step to come.
        """
        self._progress.close()
        self.train.check()
        self._guard(self.train.steps_per_epoch - 1, metrics)
        self._guard_weights()
        rate = keras.ops.convert_to_numpy(self.shell.optimizer.learning_rate)
        metrics = {**dict(sorted(metrics.items())), "learning_rate": float(rate)}
        seconds = time.monotonic() - self._began
        row = {**metrics, "seconds": seconds, "train_seconds": train_seconds}
        self._history.append({"epoch": self.epoch + 1, **row})
        self.schedule = self.schedule.after(self.error(row))
        if self.training.schedule == "paper":
            rate = self.training.learning_rate * self.schedule.factor
            self.shell.optimizer.learning_rate = rate
        self._save()
        best = f"best {self.best():.4f} in epoch {self.schedule.best_epoch}"
        say(self._progress.line(row, epoch=self.epoch, best=best))
        return metrics

    def error(self, row: Row) -> float:
        """What the schedule wants to see fall."""
        return 1.0 - row.get("val_accuracy", row.get("val_teacher_agreement"))

    def best(self) -> float:
        """The best epoch's score."""
        return 1.0 - self.schedule.best_error

    def _guard(self, step: int, metrics: Mapping[str, Any]) -> None:
        if not np.isfinite(loss := float(metrics["loss"])):
            raise self._diverged(f"the loss is {loss} at", step + 1)

    def _guard_weights(self) -> None:
        """A gradient that is not finite shows in the loss one step too late."""
        for variable in [*self.shell.student.variables, *self._others()]:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                what = f"weights {variable.path} are not finite after"
                raise self._diverged(what, self.train.steps_per_epoch)

    def _diverged(self, what: str, done: int) -> DivergedError:
        """`what` after so many of the epoch's steps."""
        step, epoch = self.epoch * self.train.steps_per_epoch + done, self.epoch + 1
        return DivergedError(f"{what} step {step} (epoch {epoch}) of {self.training}")

    @property
    def _best_path(self) -> Path:
        return self._checkpoints / f"best-{self.schedule.best_epoch:05d}.npz"

    def _variables(self) -> list:
        optimizer = self.shell.optimizer
        # In this order, older checkpoints fit shells without variables of their own.
        return [*self.shell.student.variables, *optimizer.variables, *self._others()]

    def _others(self) -> list:
        """The shell's variables beside the student's: projections, carried states."""
        student = {id(variable) for variable in self.shell.student.variables}
        return [each for each in self.shell.variables if id(each) not in student]

    def _save(self) -> None:
        best = self._best_path
        if self.schedule.best_epoch == self.epoch:
            checkpoint.save(best, self.shell.student.variables, {})
        self._save_last()
        # Only now is an older best no longer needed by any checkpoint.
        for older in set(self._checkpoints.glob("best-*.npz")) - {best}:
            older.unlink()
        self._write_table()

    def _save_last(self, **more: object) -> None:
        state = {
            "history": self._history,
            "schedule": asdict(self.schedule),
            "training": requests.plain(self.training),
            "threads": self._threads(),
            **more,
        }
        checkpoint.save(self._checkpoints / "last.npz", self._variables(), state)

    def _write_table(self) -> None:
        table = io.StringIO()
        # A training begun by an older version has fewer columns at first.
        names = dict.fromkeys(name for row in self._history for name in row)
        writer = csv.DictWriter(table, fieldnames=list(names))
        writer.writeheader()
        writer.writerows(self._history)
        write_atomic(self.directory / "metrics.csv", table.getvalue())

    def _resume(self) -> None:
        path = self._checkpoints / "last.npz"
        if not path.exists():
            return
        state = checkpoint.load(path, self._variables())
        if not requests.same(state["training"], self.training):
            differing = requests.differences(state["training"], self.training)
            field, before, now = differing[0]
            raise StaleArtifactError(
                f"checkpoint {path} was trained with {field} {before}, not {now}; "
                "remove its folder and run again"
            )
        self._history = state["history"]
        self.schedule = type(self.schedule)(**state["schedule"])
        self._first_step, self._spent = state.get("windows", 0), state.get("spent", 0.0)
        self._write_table()  # a kill may have come between checkpoint and table
        say(f"resuming after epoch {self.epoch} ({path})")
        if state["threads"] != (threads := self._threads()):
            say(
                f"the run began with {state['threads']} threads and goes on with "
                f"{threads}: the last bits of the result may differ"
            )

    def _threads(self) -> dict[str, int]:
        return {"processors": len(os.sched_getaffinity(0)), **self.engine.threads()}
