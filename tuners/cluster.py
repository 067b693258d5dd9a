"""A search by many processes: one that leads it, and workers that run its trials.

They meet in the search's folder, on storage that they share (`ledger`). Whoever leads
begins the search, watches it and says when it is over; workers need nobody to go on.
"""

import contextlib
import re
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill import terminal
from kerasdistill.errors import DivergedError, UserError, WorkersLostError
from kerasdistill.pulse import Pulse
from tuners.durable import Durable
from tuners.ledger import TRIALS, Lease, LeaseLostError, Ledger

WORKER_TIMEOUT = 60.0  # seconds unheard, then a worker is taken for dead
IDLE_TIMEOUT = 600.0  # seconds without a live worker, then whoever leads gives up
PATIENCE = 60.0  # seconds that a worker waits for a search to begin
_PAUSE = 0.5  # seconds

Run = Callable[[dict[str, Any], Path, Callable[[], None]], float]


def say(line: str) -> None:
    terminal.say(f"search: {line}")


def pulse_in(folder: str | Path) -> Pulse:
    """Which sessions of the search in `folder` live."""
    return Pulse(Path(folder, TRIALS, "workers"))


def lead(
    oracle: Durable,
    folder: str | Path,
    *,
    worker_timeout: float = WORKER_TIMEOUT,
    idle_timeout: float = IDLE_TIMEOUT,
    changed: Callable[[], None] = lambda: None,
) -> None:
    """Begins a search, or goes on with it, and waits until every trial has ended.

    Args:
        oracle: made as the workers'; follows the search from now on.
        folder: the search's, which this process holds.
        worker_timeout: seconds; a worker unheard for longer loses its trial.
        idle_timeout: seconds without a live worker, then WorkersLostError.
        changed: called after trials have ended; its UserError ends the search for all.
    """
    ledger, pulse, most = Ledger(oracle, folder), pulse_in(folder), oracle.max_trials
    ledger.begin(max_trials=most, worker_timeout=worker_timeout)
    say(f"led from here, {len(oracle.end_order)} of {most} trials done")
    done, alive = 0, time.monotonic()
    try:
        while True:
            ledger.refresh()
            alive = time.monotonic() if bury(ledger, pulse) else alive
            for trial_id in oracle.end_order[done:]:
                ledger.settle(trial_id)
            if done != (done := len(oracle.end_order)):
                changed()
            if ledger.shared["stopped"]:
                raise UserError(ledger.shared["stopped"])
            if ledger.over:
                return
            if time.monotonic() - alive > idle_timeout:
                raise WorkersLostError(
                    f"no worker was alive for {idle_timeout:g} s, {done} of {most} "
                    "trials done; what is done is kept: start leader and workers again"
                )
            time.sleep(min(_PAUSE, worker_timeout / 4))
    except UserError as error:
        ledger.stop(str(error))
        raise


def work(
    oracle: Durable,
    folder: str | Path,
    *,
    worker: str,
    run: Run,
    ended: Callable[[int], None] = lambda count: None,
    patience: float = PATIENCE,
) -> int:
    """Runs a search's trials until it is over; the number of those that counted.

    Args:
        oracle: made as the leader's.
        folder: the search's.
        worker: a name for people.
        run: (values, a folder, a check that raises once the trial is another's) ->
            score. It goes on from what an earlier attempt left in the folder.
        ended: called after each trial with the number of them.
        patience: seconds to wait for a search to begin, then UserError.
    """
    session = f"{re.sub('[^A-Za-z0-9]', '_', worker)[:100]}-{uuid.uuid4().hex[:8]}"
    ledger, pulse = Ledger(oracle, folder, session=session), pulse_in(folder)
    until, count, most = time.monotonic() + patience, 0, oracle.max_trials
    while not ledger.open(most=most):
        if time.monotonic() > until:
            raise UserError(
                f"no search goes on in {folder} for {patience:g} s; start the same "
                "command without `worker`, with `workdir` on storage that they share "
                "(and `precision`, where machines differ)"
            )
        time.sleep(min(_PAUSE, patience))
    with pulse.beating(session):
        try:
            while lease := _next(ledger, pulse):
                if attempt(ledger, lease, run):
                    ended(count := count + 1)
        except BaseException as error:
            # An interrupt says nothing against the trial that it interrupts.
            with contextlib.suppress(UserError):
                ledger.release({session}, loss=int(isinstance(error, Exception)))
            raise
    return count


def bury(ledger: Ledger, pulse: Pulse) -> bool:
    """Takes the trials of silent sessions for others; whether another one lives."""
    seconds = ledger.shared["worker_timeout"]
    sessions = {path.name for path in pulse.folder.glob("*")} - {ledger.session}
    sessions |= ledger.oracle.ongoing_trials.keys() - {ledger.session}
    silent = pulse.silent(sessions, seconds=seconds)
    for session, trial in ledger.release(silent, loss=1) if silent else ():
        name = session.rpartition("-")[0]
        then = trial.message or "another will run it"
        trial_id = trial.trial_id
        say(f"worker {name} is unheard for {seconds:g} s; trial {trial_id}: {then}")
    for session in silent:
        (pulse.folder / session).unlink(missing_ok=True)
    return bool(sessions - silent)


def _next(ledger: Ledger, pulse: Pulse) -> Lease | None:
    """The next trial, waited for if need be; None once the search is over."""
    while True:
        ledger.refresh()
        bury(ledger, pulse)
        try:
            lease = ledger.take()
        except (UserError, OSError):
            raise
        except Exception as error:
            ledger.stop(f"its oracle failed: {type(error).__name__}: {error}")
            raise
        if lease is not None or ledger.over:
            return lease
        time.sleep(min(_PAUSE, ledger.shared["worker_timeout"] / 4))


def attempt(ledger: Ledger, lease: Lease, run: Run) -> bool:
    """Runs a trial; whether its end counted."""
    score, message = None, ""
    try:
        try:
            score = run(lease.values, lease.folder, lambda: ledger.check(lease))
        except DivergedError as error:
            message = str(error)
        except Exception:
            ledger.check(lease)  # perhaps it is that its folder was moved
            raise
        ledger.end(lease, score=score, message=message)
        return True
    except LeaseLostError as error:
        say(f"{error}; this one's result is dropped")
        shutil.rmtree(lease.folder, ignore_errors=True)
        return False
