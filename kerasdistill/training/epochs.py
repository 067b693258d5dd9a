"""What a training does between epochs: watch, record, schedule, checkpoint."""

import csv
import dataclasses
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kerasdistill.errors import DivergedError, StaleArtifactError
from kerasdistill.files import write_atomic
from kerasdistill.recipes.base import Training
from kerasdistill.training import checkpoint
from kerasdistill.training.schedules import PaperSchedule

# What a line about an epoch tells; the last that is there chooses the best epoch.
_TOLD = (
    "loss",
    "accuracy",
    "teacher_agreement",
    "val_teacher_agreement",
    "val_accuracy",
)
GUARD_EVERY = 50  # steps between looks at the loss: a look waits for the device


@dataclass(frozen=True)
class EpochStream:
    """Training data whose epoch e depends on e alone, so it can start anywhere.

    `batches(first_epoch)` yields the batches of that epoch and all later ones.
    `prepare(epoch)` is called as each begins, and `complete`, if any, turns what
    `batches` yields into whole batches inside the training step.
    """

    steps_per_epoch: int
    examples_per_epoch: int
    batches: Callable[[int], tf.data.Dataset]
    prepare: Callable[[int], None] = lambda epoch: None
    complete: Callable[[dict], dict] | None = None


@dataclass(frozen=True)
class FitResult:
    """What the training did; the model holds the best epoch's weights.

    `val_score` is that epoch's validation accuracy, or without labels its agreement
    with the teacher.
    """

    epochs: int
    best_epoch: int
    val_score: float
    seconds: float
    images_per_second: float
    history: tuple[dict[str, float], ...]


class Epochs(keras.callbacks.Callback):
    """Everything that happens at an epoch's end, in one fixed order."""

    told = _TOLD
    first_schedule = PaperSchedule()

    def __init__(
        self,
        model: keras.Model,
        training: Training,
        directory: Path,
        train: EpochStream,
        enough: Callable[[Sequence[dict[str, float]]], bool] | None = None,
    ):
        super().__init__()
        self._shell = model
        self._enough = enough
        self._training = training
        self._train = train
        self._directory = directory
        self._checkpoints = directory / "checkpoints"
        self._schedule = self.first_schedule
        self._history: list[dict[str, float]] = []
        self._train_seconds = 0.0
        self._bar = tqdm(disable=True)
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

    def close(self) -> None:
        """Ends the bar's line, so that what is said next has one of its own."""
        self._bar.close()

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

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock and the bar."""
        self._began = time.monotonic()
        of = f"/{self._training.epochs}" if self._training.epochs else ""
        self._bar = tqdm(
            total=self._train.steps_per_epoch,
            desc=f"epoch {epoch + 1}{of}",
            unit="step",
            file=sys.stderr,
            # A log gets a line per epoch anyway, and a bar of a long one now and then.
            mininterval=0.5 if sys.stderr.isatty() else 30,
            delay=0 if sys.stderr.isatty() else 30,
            leave=False,
        )
        self._train.prepare(epoch)

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar; now and then looks whether the loss is finite."""
        self._bar.update()
        if (batch + 1) % GUARD_EVERY == 0:
            self._guard(batch, logs)

    def on_test_begin(self, logs=None):
        """The epoch's training is over."""
        self._train_seconds = time.monotonic() - self._began

    def on_epoch_end(self, epoch, logs=None):
        """Checks, records, schedules and checkpoints."""
        self._bar.close()
        self._guard(self._train.steps_per_epoch - 1, logs)
        self._guard_weights()
        row = {key: float(value) for key, value in logs.items()}
        row["learning_rate"] = float(
            keras.ops.convert_to_numpy(self._shell.optimizer.learning_rate)
        )
        row["seconds"] = time.monotonic() - self._began
        row["train_seconds"] = self._train_seconds
        logs["learning_rate"] = row["learning_rate"]
        self._history.append({"epoch": epoch + 1, **row})
        self._schedule = self._schedule.after(self.error(row))
        if self._training.schedule == "paper":
            rate = self._training.learning_rate * self._schedule.factor
            self._shell.optimizer.learning_rate = rate
        self._save()
        self._tell(row)
        if self.finished:
            self._shell.stop_training = True

    def error(self, row: dict[str, float]) -> float:
        """What the schedule wants to see fall."""
        return 1.0 - row.get("val_accuracy", row.get("val_teacher_agreement"))

    def best(self) -> float:
        """The best epoch's score, as it is told."""
        return 1.0 - self._schedule.best_error

    def _guard(self, batch: int, logs: dict) -> None:
        if not np.isfinite(float(logs["loss"])):
            step = self.epoch * self._train.steps_per_epoch + batch + 1
            raise DivergedError(
                f"the loss is {float(logs['loss'])} at step {step} "
                f"(epoch {self.epoch + 1}) of {self._training}"
            )

    def _guard_weights(self) -> None:
        """A gradient that is not finite shows in the loss one step too late."""
        for variable in self._shell.student.variables:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                step = (self.epoch + 1) * self._train.steps_per_epoch
                raise DivergedError(
                    f"weights {variable.path} are not finite after step {step} "
                    f"(epoch {self.epoch + 1}) of {self._training}"
                )

    def _best_path(self, epoch: int) -> Path:
        return self._checkpoints / f"best-{epoch:05d}.npz"

    def _variables(self) -> list:
        return [*self._shell.student.variables, *self._shell.optimizer.variables]

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
            "training": dataclasses.asdict(self._training),
            "threads": _threads(),
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
        now = json.loads(json.dumps(dataclasses.asdict(self._training)))
        for field, before in state["training"].items():
            if now.get(field) != before:
                raise StaleArtifactError(
                    f"checkpoint {path} was trained with {field} {before}, not "
                    f"{now.get(field)}; remove its folder and run again"
                )
        self._history = state["history"]
        self._schedule = type(self._schedule)(**state["schedule"])
        self._write_table()  # a kill may have come between checkpoint and table
        print(f"resuming after epoch {self.epoch} ({path})", file=sys.stderr)
        if state["threads"] != _threads():
            print(
                f"the run began with {state['threads']} threads and goes on with "
                f"{_threads()}: the last bits of the result may differ",
                file=sys.stderr,
            )
        return state

    def _tell(self, row: dict[str, float]) -> None:
        epochs = self._training.epochs
        left = ""
        if epochs:
            seconds = row["seconds"] * (epochs - self.epoch)
            left = f", about {tqdm.format_interval(seconds)} left"
        told = ", ".join(f"{name} {row[name]:.4f}" for name in self.told if name in row)
        print(
            f"epoch {self.epoch}{f'/{epochs}' if epochs else ''}: {told} "
            f"(best {self.best():.4f} "
            f"in epoch {self._schedule.best_epoch}), "
            f"learning rate {row['learning_rate']:.2g}, {row['seconds']:.0f} s{left}",
            file=sys.stderr,
            flush=True,
        )


def _threads() -> dict[str, int]:
    return {
        "processors": len(os.sched_getaffinity(0)),
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }
