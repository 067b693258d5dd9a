"""Which processes live, told from files in a folder that all of them share."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kerasdistill.reading_files import read_bytes

_PAUSE = 0.5  # seconds


class Pulse:
    """Which sessions live: each counts in a file of its own in `folder`.

    What matters is how long this reader has seen the same count, by its `clock` in
    monotonic seconds; clocks of machines, which may differ, are never compared.
    """

    def __init__(
        self, folder: str | Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self._clock = Path(folder), clock
        self._seen: dict[str, tuple[str, float]] = {}

    def silent(self, sessions: set[str], *, seconds: float) -> set[str]:
        """Those of `sessions` that were not heard for more than `seconds`."""
        late = set()
        for session in sessions:
            now, count = self._clock(), "none"
            with contextlib.suppress(FileNotFoundError):
                count = read_bytes(self.folder / session, "text").decode()
            before, since = self._seen.get(session, (None, now))
            if before != count:
                self._seen[session] = (count, self._clock())
            elif now - since > seconds:
                late.add(session)
        return late

    @contextlib.contextmanager
    def beating(self, session: str, *, seconds: float = _PAUSE) -> Iterator[None]:
        """Lets a thread count for the session, as long as the folder is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / session

        def go_on(ended: threading.Event) -> None:
            for count in itertools.count():
                try:
                    path.write_text(str(count))
                except FileNotFoundError:
                    return
                except OSError:
                    pass  # the next may come through
                if ended.wait(seconds):
                    return

        try:
            with beside(go_on):
                yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Within it, `work` runs in a thread, until the event that it is given is set."""
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
