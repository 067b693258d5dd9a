"""Bars on stderr: how far something is, and the time left."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm


@contextlib.contextmanager
def bar(what: str, **options: Any) -> Iterator[Callable[[int, int], None]]:
    """A bar that is gone when it ends; yields what to call with (done, total).

    `what` is going on; `options` are tqdm's, such as unit.
    """
    # With a delay, an error that comes at once has its line to itself.
    with tqdm(desc=what, leave=False, delay=1, file=sys.stderr, **options) as shown:

        def show(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield show
