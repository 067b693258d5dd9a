"""A search on many machines: one process leads it, others run its trials."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.errors import BusyError
from kerasdistill.running.steps import duration
from kerasdistill.runs import RunDirectory
from tuners import cluster
from tuners.durable import Durable
from tuners.leases import LeaseLostError
from tuners.search import TRIALS, Tuner

_PAUSE_SECONDS = 1.0


def lead(
    oracle: Durable,
    folder: RunDirectory,
    *,
    address: str,
    worker_timeout: float,
    changed: Callable[[], None],
) -> None:
    """Gives the oracle's trials to whoever asks, until the search has ended.

    Args:
        oracle: given over to this function.
        folder: the search's, on storage that the workers share.
        address: host:port to listen at.
        worker_timeout: seconds unheard after which a worker is taken for dead.
        changed: called after trials have ended.

    Raises:
        UserError: nobody can listen there, or what `changed` raises.
        WorkersLostError: no worker has been alive for ten minutes.
    """
    oracle._set_project_dir(str(folder.path), TRIALS)
    print(
        f"workers: the same command with --worker NAME, --workdir on storage shared "
        f"with {folder.path}",
        file=sys.stderr,
    )
    cluster.serve(
        oracle,
        address=address,
        worker_timeout=worker_timeout,
        request=folder.request,
        on_change=changed,
    )


def work(
    oracle: Durable,
    folder: RunDirectory,
    *,
    address: str,
    worker: str,
    train: Callable[[dict[str, Any], Path, Callable[[], None]], float],
) -> dict[str, Any]:
    """Runs trials for the chief at `address` until it has no more.

    Args:
        oracle: made as the chief's; only its objective and space are used.
        folder: the chief's; it is not locked here.
        address: host:port of the chief.
        worker: a name that no other worker has.
        train: (values, the trial's folder, a check that raises once the trial is
            another worker's) -> validation accuracy.

    Returns:
        The search's folder, this worker's name, and how many trials it ended.

    Raises:
        UserError: the chief can't be reached or searches something else.
    """
    counts = {"ended": 0, "lost": 0}
    began = time.monotonic()
    request = folder.request
    with cluster.connect(
        oracle, address=address, worker=worker, request=request
    ) as chief:

        def tell(tuner: Tuner) -> None:
            counts["ended"] += 1
            done = counts["ended"] - counts["lost"]
            print(f"worker {worker}: {done} trials ended", file=sys.stderr)

        def run(values: dict[str, Any], place: Path) -> float:
            trial_id = place.name.removeprefix("trial_")

            def check() -> None:
                if not chief.holds(trial_id):
                    raise LeaseLostError(f"trial {trial_id} is another worker's now")

            try:
                return _when_free(train, values, place, check)
            except LeaseLostError:
                counts["lost"] += 1
                raise

        Tuner(chief, folder=folder.path, run=run, ended=tell).search()
    took = duration(time.monotonic() - began)
    print(f"worker {worker}: the search has ended, {took}", file=sys.stderr)
    return {
        "search": str(folder.path),
        "worker": worker,
        "trials": counts["ended"] - counts["lost"],
    }


def _when_free(
    train: Callable[[dict[str, Any], Path, Callable[[], None]], float],
    values: dict[str, Any],
    place: Path,
    check: Callable[[], None],
) -> float:
    """Trains once the worker that had the trial before has let go of its folder; it
    does at the end of its epoch, or with its process."""
    while True:
        try:
            return train(values, place, check)
        except BusyError:
            check()
            time.sleep(_PAUSE_SECONDS)
