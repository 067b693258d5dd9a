"""Bars on stderr: how far something is, and the time left."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from kerasdistill import terminal


@contextlib.contextmanager
def bar(what: str, **options: Any) -> Iterator[Callable[[int, int], None]]:
    """A bar that is gone when it ends; yields what to call with (done, total).

    `what` is going on; `options` are tqdm's, such as unit.
    """
    # With a delay, an error that comes at once has its line to itself.
    with terminal.bar(what, leave=False, delay=1, **options) as shown:

        def show(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield show
