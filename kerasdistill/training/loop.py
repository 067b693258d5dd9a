"""The loop over epochs, the same on every engine, and what it does between them."""

import csv
import dataclasses
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from kerasdistill import requests
from kerasdistill.errors import DivergedError, StaleArtifactError
from kerasdistill.files import write_atomic
from kerasdistill.recipes.base import Training
from kerasdistill.training import checkpoint
from kerasdistill.training.board import Board
from kerasdistill.training.engines import Engine, Session
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.schedules import PaperSchedule

# What a line about an epoch shows; the last that is there chooses the best epoch.
_SHOWN = (
    "loss",
    "accuracy",
    "teacher_agreement",
    "val_teacher_agreement",
    "val_accuracy",
)
GUARD_EVERY = 50  # steps between looks at the loss: a look waits for the device


class Epochs:
    """Trains epoch by epoch; everything at an epoch's end comes in one fixed order.

    It touches the model by its Keras variables alone; `Session` does the rest.
    """

    shown = _SHOWN
    first_schedule = PaperSchedule()

    def __init__(
        self,
        model: keras.Model,
        training: Training,
        directory: Path,
        train: EpochStream,
        engine: Engine,
        enough: Callable[[Sequence[dict[str, float]]], bool] | None = None,
    ):
        self._shell = model
        self._enough = enough
        self._training = training
        self._train = train
        self._engine = engine
        self._directory = directory
        self._checkpoints = directory / "checkpoints"
        self._schedule = self.first_schedule
        self._history: list[dict[str, float]] = []
        self._bar = tqdm(disable=True)
        self.first_step = 0  # of the epoch to come
        self._resume()

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self._history)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        capped = self._training.epochs is not None
        if capped and self.epoch >= self._training.epochs:
            return True
        if self._enough is not None and self._history and self._enough(self._history):
            return True
        return self._training.schedule == "paper" and self._schedule.stop

    def run(self, validation: Iterable[dict[str, Any]] | None = None) -> None:
        """Trains until `finished`; every epoch gets a point on TensorBoard's curves."""
        session = self._engine.session(
            self._shell,
            self._train,
            validation=validation,
            first_epoch=self.epoch,
            first_step=self.first_step,
        )
        board = Board(self._directory / "tensorboard")
        try:
            while not self.finished:
                self.begin()
                steps = range(self.first_step, self._train.steps_per_epoch)
                metrics = session.train(steps, self.after_step)
                train_seconds = time.monotonic() - self._began
                metrics = self.validated(metrics, session)
                metrics = self.end(metrics, train_seconds)
                board.write(self.epoch, metrics)
        finally:
            self._bar.close()  # what is said next has a line of its own
            board.close()

    def finish(self) -> FitResult:
        """Puts the best weights back and sums up."""
        best = self._schedule.best_epoch
        checkpoint.load(self._best_path(best), self._shell.student.variables)
        seconds = sum(row["seconds"] for row in self._history)
        train_seconds = sum(row["train_seconds"] for row in self._history)
        seen = self._train.examples_per_epoch * self.epoch
        return FitResult(
            epochs=self.epoch,
            best_epoch=best,
            val_score=1.0 - self._schedule.best_error,
            seconds=seconds,
            images_per_second=seen / train_seconds,
            history=tuple(self._history),
        )

    def begin(self) -> None:
        """Starts the clock and the bar; the metrics are zero."""
        self._shell.reset_metrics()
        self._began = time.monotonic()
        of = f"/{self._training.epochs}" if self._training.epochs else ""
        self._bar = tqdm(
            total=self._train.steps_per_epoch,
            initial=self.first_step,
            desc=f"epoch {self.epoch + 1}{of}",
            unit="step",
            file=sys.stderr,
            # A log gets a line per epoch anyway, and a bar of a long one now and then.
            mininterval=0.5 if sys.stderr.isatty() else 30,
            delay=0 if sys.stderr.isatty() else 30,
            leave=False,
        )
        self._train.prepare(self.epoch)

    def after_step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Moves the bar; now and then looks whether the loss is finite."""
        self._bar.update(step + 1 - self._bar.n)
        if (step + 1) % GUARD_EVERY == 0:
            self._guard(step, metrics)

    def validated(
        self, metrics: dict[str, float], session: Session
    ) -> dict[str, float]:
        """The training's metrics and those on the validation data."""
        self._shell.reset_metrics()
        return metrics | session.validate()

    def end(self, metrics: dict[str, float], train_seconds: float) -> dict[str, float]:
        """Checks, records, schedules and checkpoints.

        Returns:
            The metrics and the learning rate that the epoch was trained at.
        """
        self._bar.close()
        self._guard(self._train.steps_per_epoch - 1, metrics)
        self._guard_weights()
        rate = keras.ops.convert_to_numpy(self._shell.optimizer.learning_rate)
        metrics = {**dict(sorted(metrics.items())), "learning_rate": float(rate)}
        row = {**metrics, "seconds": time.monotonic() - self._began}
        row["train_seconds"] = train_seconds
        self._history.append({"epoch": self.epoch + 1, **row})
        self._schedule = self._schedule.after(self.error(row))
        if self._training.schedule == "paper":
            rate = self._training.learning_rate * self._schedule.factor
            self._shell.optimizer.learning_rate = rate
        self._save()
        self._report(row)
        return metrics

    def error(self, row: dict[str, float]) -> float:
        """What the schedule wants to see fall."""
        return 1.0 - row.get("val_accuracy", row.get("val_teacher_agreement"))

    def best(self) -> float:
        """The best epoch's score, as it is shown."""
        return 1.0 - self._schedule.best_error

    def _guard(self, step: int, metrics: Mapping[str, Any]) -> None:
        if not np.isfinite(loss := float(metrics["loss"])):
            step += self.epoch * self._train.steps_per_epoch + 1
            raise DivergedError(
                f"the loss is {loss} at step {step} "
                f"(epoch {self.epoch + 1}) of {self._training}"
            )

    def _guard_weights(self) -> None:
        """A gradient that is not finite shows in the loss one step too late."""
        for variable in [*self._shell.student.variables, *self._others()]:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                step = (self.epoch + 1) * self._train.steps_per_epoch
                raise DivergedError(
                    f"weights {variable.path} are not finite after step {step} "
                    f"(epoch {self.epoch + 1}) of {self._training}"
                )

    def _best_path(self, epoch: int) -> Path:
        return self._checkpoints / f"best-{epoch:05d}.npz"

    def _variables(self) -> list:
        optimizer = self._shell.optimizer
        # In this order, older checkpoints fit shells without variables of their own.
        return [*self._shell.student.variables, *optimizer.variables, *self._others()]

    def _others(self) -> list:
        """The shell's variables beside the student's: projections, carried states."""
        student = {id(variable) for variable in self._shell.student.variables}
        return [each for each in self._shell.variables if id(each) not in student]

    def _save(self) -> None:
        best = self._best_path(self._schedule.best_epoch)
        if self._schedule.best_epoch == self.epoch:
            checkpoint.save(best, self._shell.student.variables, {})
        self._save_last()
        # Only now is an older best no longer needed by any checkpoint.
        for path in self._checkpoints.glob("best-*.npz"):
            if path != best:
                path.unlink()
        self._write_table()

    def _save_last(self, **more: object) -> None:
        state = {
            "history": self._history,
            "schedule": dataclasses.asdict(self._schedule),
            "training": requests.plain(self._training),
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
        write_atomic(self._directory / "metrics.csv", table.getvalue())

    def _resume(self) -> dict | None:
        path = self._checkpoints / "last.npz"
        if not path.exists():
            return None
        state = checkpoint.load(path, self._variables())
        if not requests.same(state["training"], self._training):
            differing = requests.differences(state["training"], self._training)
            field, before, now = differing[0]
            raise StaleArtifactError(
                f"checkpoint {path} was trained with {field} {before}, not {now}; "
                "remove its folder and run again"
            )
        self._history = state["history"]
        self._schedule = type(self._schedule)(**state["schedule"])
        self._write_table()  # a kill may have come between checkpoint and table
        print(f"resuming after epoch {self.epoch} ({path})", file=sys.stderr)
        if state["threads"] != (threads := self._threads()):
            print(
                f"the run began with {state['threads']} threads and goes on with "
                f"{threads}: the last bits of the result may differ",
                file=sys.stderr,
            )
        return state

    def _report(self, row: dict[str, float]) -> None:
        epochs = self._training.epochs
        left = ""
        if epochs:
            seconds = row["seconds"] * (epochs - self.epoch)
            left = f", about {tqdm.format_interval(seconds)} left"
        shown = [f"{name} {row[name]:.4f}" for name in self.shown if name in row]
        print(
            f"epoch {self.epoch}{f'/{epochs}' if epochs else ''}: {', '.join(shown)} "
            f"(best {self.best():.4f} "
            f"in epoch {self._schedule.best_epoch}), "
            f"learning rate {row['learning_rate']:.2g}, {row['seconds']:.0f} s{left}",
            file=sys.stderr,
            flush=True,
        )

    def _threads(self) -> dict[str, int]:
        return {"processors": len(os.sched_getaffinity(0)), **self._engine.threads()}
