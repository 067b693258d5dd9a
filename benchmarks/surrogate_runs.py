"""Searches on surrogates: every searcher, the same seeds and the same noise."""

import json
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import searchers
from surrogates import Surrogate

from tuners import GaussianProcessOracle
from tuners.space import Space

TRIALS = 40
SLOW = {"keras-tuner": 20, "hebo": 20}  # trials of those that take seconds a proposal
NAMES = (
    "ours",
    "ours, plain",
    "random",
    "sobol",
    "optuna tpe",
    "optuna gp",
    "keras-tuner",
    "hebo",
)


def run(
    surrogates: Sequence[Surrogate], log: Path, *, names: Sequence[str], seeds: range
) -> None:
    """Appends a line to the log for each search that it has not yet."""
    warnings.simplefilter("ignore")  # the stock oracle's fits warn at every turn
    done = {(row["surrogate"], row["searcher"], row["seed"]) for row in rows(log)}
    for seed in seeds:
        for surrogate in surrogates:
            for name in names:
                if (surrogate.name, name, seed) in done:
                    continue
                row = _search(surrogate, name, seed)
                with log.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def rows(log: Path) -> Iterator[dict[str, Any]]:
    """The searches of a log."""
    if log.exists():
        yield from map(json.loads, log.read_text().splitlines())


def make(name: str, space: Space, *, seed: int) -> searchers.Searcher:
    """The searcher of a name in `NAMES`; another seed than 0, which some take for
    none."""
    how = {"dimensions": len(space.dimensions), "seed": seed + 1}
    if name.startswith("ours"):
        pair = None if "plain" in name else space.effective_rate
        oracle = partial(GaussianProcessOracle, effective_rate=pair)
        declared = space.hyperparameters()
        return searchers.KerasTunerSearcher(oracle, space=declared, **how)
    if name in ("random", "sobol"):
        return searchers.Points(sobol=name == "sobol", **how)
    if name.startswith("optuna"):
        sampler = {"optuna tpe": "TPESampler", "optuna gp": "GPSampler"}[name]
        return searchers.OptunaSearcher(sampler=sampler, **how)
    return {"keras-tuner": searchers.stock, "hebo": searchers.HeboSearcher}[name](**how)


def _search(surrogate: Surrogate, name: str, seed: int) -> dict[str, Any]:
    searcher = make(name, surrogate.space, seed=seed)
    columns: dict[str, list[float]] = {"expected": [], "model": [], "measured": []}
    spent = []
    for number in range(SLOW.get(name, TRIALS)):
        began = time.process_time()
        place = searcher.ask()
        spent.append(time.process_time() - began)
        noise = np.random.default_rng([seed, number])  # the same for every searcher
        trained = surrogate.training(place, noise)
        searcher.tell(-trained[-1])
        for column, value in zip(columns.values(), trained, strict=True):
            column.append(round(value, 5))
    row = {"surrogate": surrogate.name, "searcher": name, "seed": seed, **columns}
    return {**row, "proposal_core_seconds": round(float(np.median(spent[-10:])), 4)}


def published(row: dict[str, Any], trials: int) -> float | None:
    """The expected accuracy of the recipe that measured best in its first trials."""
    measured = row["measured"][:trials]
    if len(measured) < trials:
        return None
    return row["expected"][int(np.argmax(measured))]
