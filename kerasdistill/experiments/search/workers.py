"""A search by many processes: one leads it, others run its trials."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.requests import leaves
from kerasdistill.running.steps import duration
from kerasdistill.runs import RunDirectory, read_json
from kerasdistill.terminal import say
from tuners import cluster
from tuners.durable import Durable


def lead(
    oracle: Durable,
    folder: RunDirectory,
    *,
    address: str,
    worker_timeout: float,
    changed: Callable[[], None],
) -> None:
    """As `cluster.lead`, in a run's folder; `address` only names the search."""
    _say(f"`chief={address}` only names the search: no port is opened")
    _say(
        "workers: the same command with `worker=NAME`, `workdir` on storage shared "
        f"with {folder.path}"
    )
    cluster.lead(oracle, folder.path, worker_timeout=worker_timeout, changed=changed)


def work(
    oracle: Durable,
    folder: RunDirectory,
    *,
    address: str,
    worker: str,
    train: cluster.Run,
) -> dict[str, Any]:
    """As `cluster.work`, in a run's folder that another process holds; UserError if it
    is another search's. The results name the folder, the worker and its trials."""
    _say(f"`chief={address}` only names the search, which is {folder.path}")
    began = time.monotonic()

    def run(values: dict[str, Any], place: Path, check: Callable[[], None]) -> float:
        path = folder.path / "recipe.json"
        theirs, ours = leaves(read_json(path)), leaves(folder.request)
        if differ := [n for n in ours if theirs.get(n, ours[n]) != ours[n]]:
            raise UserError(
                f"{path} describes a search with another {', '.join(differ[:3])}; give "
                "all of its processes the same command"
            )
        return train(values, place, check)

    count = cluster.work(
        oracle,
        folder.path,
        worker=worker,
        run=run,
        ended=lambda count: _say(f"worker {worker}: {count} trials ended"),
    )
    took = duration(time.monotonic() - began)
    _say(f"worker {worker}: the search has ended, {took}")
    return {"search": str(folder.path), "worker": worker, "trials": count}


def _say(line: str) -> None:
    say(line)
