"""What goes into a training, epoch by epoch, and what comes out of it."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, float]  # an epoch's metrics by name


@dataclass(frozen=True)
class EpochStream:
    """Training data whose epoch e depends on e alone, so it can start anywhere.

    Attributes:
        examples_per_epoch: what a rate per second counts.
        batches: called with an epoch, yields the batches of that epoch and all later
            ones without end: a tf.data.Dataset (for another engine any iterable) of
            dicts of arrays whose first axis is the batch. Nothing in them depends on
            the model, so an engine may read ahead and keep an epoch on the device.
        prepare: called on the host as epoch e begins, before its first step but maybe
            after its first batches were read. What it changes for `complete` must be
            values of the backend's variables: a compiled step sees no other change.
        check: called before anything that was learned is kept; raises if what was read
            may have been something else.
        complete: makes what `batches` yields whole (None: it is), inside the compiled
            step on each device's share, so of operations that the backend can trace.
    """

    steps_per_epoch: int
    examples_per_epoch: int
    batches: Callable[[int], Iterable[dict[str, Any]]]
    prepare: Callable[[int], None] = lambda epoch: None
    check: Callable[[], None] = lambda: None
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
    history: tuple[Row, ...]

    @property
    def curves(self) -> list[dict[str, float | None]]:
        """The history without its clocks, as JSON, which has no number for what is
        not finite."""
        return [
            {
                name: value if math.isfinite(value) else None
                for name, value in row.items()
                if not name.endswith("seconds")
            }
            for row in self.history
        ]
