"""Which workers are alive: a lease lasts while its holder is heard."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


class LeaseLostError(Exception):
    """A trial was given to another worker, or is finished: the answer comes too late.

    KerasTuner's tuners take it for a trial that went wrong and ask for the next one.
    """


class TakenError(Exception):
    """Another process works under this worker's name; the message says which."""


@dataclass
class _Lease:
    session: str | None  # None: nobody has come for it since the chief started
    heard: float  # seconds on the clock


class Leases:
    """Leases by worker's name. All methods may be called from any thread.

    Args:
        seconds: after which a worker that is not heard is taken for dead.
        clock: monotonic seconds.
    """

    def __init__(
        self, *, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}
        self._gone: set[str] = set()  # sessions that left; a late heartbeat is no life
        self._alive = clock()  # when a worker was alive for the last time

    def expect(self, worker: str) -> None:
        """A lease for a worker that had a trial when the chief was last seen."""
        with self._lock:
            self._leases.setdefault(worker, _Lease(None, self._clock()))

    def hear(self, worker: str, *, session: str) -> None:
        """Begins or renews a worker's lease.

        Args:
            session: the process behind the name.

        Raises:
            TakenError: another process, heard lately, has the name.
        """
        with self._lock:
            lease = self._leases.get(worker)
            if session in self._gone:
                return
            if lease is None or lease.session is None:
                self._leases[worker] = _Lease(session, self._clock())
            elif lease.session == session:
                lease.heard = self._clock()
            else:
                raise TakenError(lease.session)

    def leave(self, worker: str, *, session: str) -> None:
        """Ends a lease that its holder gives back."""
        with self._lock:
            self._gone.add(session)
            lease = self._leases.get(worker)
            if lease is not None and lease.session == session:
                self._alive = self._clock()
                del self._leases[worker]

    def expired(self) -> list[str]:
        """Workers whose leases have run out; they are forgotten with this call."""
        with self._lock:
            now = self._clock()
            if self._leases:
                self._alive = now
            late = [
                name
                for name, lease in self._leases.items()
                if now - lease.heard > self.seconds
            ]
            for name in late:
                del self._leases[name]
            return late

    def live(self) -> list[str]:
        """Workers that hold a lease."""
        with self._lock:
            return list(self._leases)

    def seconds_alone(self) -> float:
        """How long there has been no live worker; 0 while there is one."""
        with self._lock:
            return 0.0 if self._leases else self._clock() - self._alive
