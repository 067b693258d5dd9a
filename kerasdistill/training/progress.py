"""What is seen of a training: a bar within each epoch, and a line after it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill import terminal
from kerasdistill.training.epochs import Row

_MOST_STARTUP = 0.1  # of an epoch, for its length to say how long others take


@dataclass(eq=False)
class EpochProgress:
    """Epochs are counted from 1, steps within each from 0.

    Attributes:
        steps_per_epoch: as it says.
        epochs: most epochs (None: not known).
        metrics: names of those that a line shows, where the epoch has them.
        rate: the learning rate at a step of the training, counted from 0; a number
            stands for that in the metrics.
        clock: in seconds.
    """

    steps_per_epoch: int
    epochs: int | None
    metrics: Sequence[str]
    rate: Callable[[int], Any] | float = 0.0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self):
        self._bar = terminal.bar(disable=True)
        self._of = f"/{self.epochs}" if self.epochs else ""
        self._began = 0.0
        # Seconds to the end of the first steps, which compiles them: no measure of
        # what is to come. None before; 0.0 from the second epoch on.
        self._startup: float | None = None

    def begin(self, epoch: int, *, done: int) -> None:
        """Starts an epoch's bar, so many of whose steps are done."""
        self._began = self.clock()
        self._start(epoch, done)

    def step(self, epoch: int, *, done: int) -> None:
        """Moves the bar; steps may come one at a time or many at once."""
        if self._startup is None:
            self._startup = self.clock() - self._began
            self._start(epoch, done)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Takes the bar away: what is said next has a line of its own."""
        self._bar.close()

    def line(self, row: Row, *, epoch: int, best: str) -> str:
        """What is said of a finished epoch and its metrics; `best` is so far."""
        left, more = "", (self.epochs or epoch) - epoch
        if more and self._startup < _MOST_STARTUP * row["seconds"]:
            seconds = self._bar.format_interval(more * row["seconds"])
            left = f", about {seconds} left"
        self._startup = 0.0
        shown = [f"{name} {row[name]:.4f}" for name in self.metrics if name in row]
        return (
            f"epoch {epoch}{self._of}: {', '.join(shown)} ({best}), learning rate "
            f"{self._rate(row, epoch):.2g}, {row['seconds']:.0f} s{left}"
        )

    def _start(self, epoch: int, done: int) -> None:
        """The pace is that of the steps from here on."""
        self._bar.close()
        self._bar = terminal.bar(
            f"epoch {epoch}{self._of}",
            total=self.steps_per_epoch,
            initial=done,
            unit="step",
            mininterval=0.5,
            leave=False,
        )

    def _rate(self, row: Row, epoch: int) -> float:
        """The learning rate in the middle of the epoch: at its end it may be 0."""
        if not callable(self.rate):
            return row["learning_rate"]
        steps = self.steps_per_epoch
        return float(self.rate((epoch - 1) * steps + steps // 2))
