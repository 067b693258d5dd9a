"""Many batches as one array of each column, made by a thread that reads ahead."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

Batch = dict[str, Any]

_MOST_BYTES = 1 << 29  # of batches that are on the way to the device at once


class Stacks:
    """Batches of one shape in a row, as one array of each column, [steps, B, ...].

    All stacks of a shape are of one length, filled up with zeros, because for another
    the steps would be compiled again: `longest`, or what the device has room for, and
    for the shapes of short batches, which come later, as long as the first.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        place: Callable[[Batch], Batch],
        *,
        longest: int,
    ):
        self._batches = batches
        self._place = place
        self._longest = longest
        self._lengths: dict[tuple, int] = {}
        self._next: Batch | None = None
        self.closed = False  # ends what a thread is reading

    def of(self, steps: int) -> Iterator[tuple[int, Batch]]:
        """(Number of batches, stack) until so many batches are in stacks."""
        while steps:
            rows = self._row(steps)
            steps -= len(rows)
            length = self._lengths.setdefault(_shape(rows[0]), len(rows))
            yield len(rows), self._place(_stacked(rows, length))

    def _row(self, most: int) -> list[Batch]:
        first = self._next or next(self._batches)
        shape, rows, self._next = _shape(first), [first], None
        if not self._lengths:
            size = sum(each.nbytes for each in first.values())
            self._lengths[shape] = min(self._longest, max(1, _MOST_BYTES // size))
        most = min(most, self._lengths.get(shape, most))
        while len(rows) < most and not self.closed:
            batch = next(self._batches)
            if _shape(batch) != shape:
                self._next = batch
                break
            rows.append(batch)
        return rows


def _shape(batch: Batch) -> tuple:
    return tuple((name, each.shape) for name, each in sorted(batch.items()))


def _stacked(rows: Sequence[Batch], length: int) -> Batch:
    stack = {}
    for name, each in rows[0].items():
        stack[name] = np.zeros((length, *each.shape), each.dtype)
        for place, row in enumerate(rows):
            stack[name][place] = row[name]
    return stack


class Ahead:
    """Stacks, of which a thread makes the next one while the last is used.

    Batches `first` to `last` (None: without end) of a training are read; those of two
    epochs, of `every` batches each, are never in one stack.
    """

    def __init__(self, stacks: Stacks, first: int, last: int | None, *, every: int):
        self._stacks = stacks
        self._read, self._last, self._every = first, last, every
        self._thread = ThreadPoolExecutor(1)
        self._waiting: Future | None = None
        self._stack: Batch = {}
        self._used = self._filled = 0  # batches of the stack

    def of(self, steps: int) -> Iterator[tuple[int, int, Batch]]:
        """(From, to before, stack) until so many batches were named."""
        while steps:
            if self._used == self._filled:
                self._advance()
            first = self._used
            self._used = min(first + steps, self._filled)
            steps -= self._used - first
            yield first, self._used, self._stack

    def _advance(self) -> None:
        self._stack = {}  # makes room
        waiting = self._waiting or self._begin()
        self._filled, self._stack = waiting.result()
        self._used, self._read = 0, self._read + self._filled
        over = self._last is not None and self._read >= self._last
        self._waiting = None if over else self._begin()

    def _begin(self) -> Future:
        most = self._every - self._read % self._every
        return self._thread.submit(lambda: next(self._stacks.of(most)))

    def close(self) -> None:
        self._stacks.closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)


def arrays(batches: Any) -> Iterator[Batch]:
    """Batches as NumPy arrays, of whole numbers in 32 bits, as JAX has them."""
    for batch in batches:
        yield {name: _narrow(np.asarray(each)) for name, each in batch.items()}


def _narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32) if values.dtype == np.int64 else values
