"""Real searches, ours and random points, pair by pair: every trial is a training.

A finished trial is a line of a log, from which the same command goes on.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras_tuner

from kerasdistill.seeds import derive_seed
from tuners import oracles
from tuners.space import Space

TRIALS, SEEDS = 20, range(20)
SEARCHERS = ("gp", "random")

Train = Callable[[dict[str, float], int], float]  # a point and a seed -> accuracy


def run(space: Space, train: Train, log: Path, *, seeds=SEEDS, trials=TRIALS) -> None:
    """Runs what the log has not yet, one pair of searches after the other.

    Args:
        space: what is searched.
        train: NaN for a training that diverged. Its seed differs from trial to trial
            and is the same for both searches of a pair.
        log: JSON lines, appended to.
    """
    if log.exists() and not log.read_bytes().endswith(b"\n"):
        with log.open("a") as file:
            file.write("\n")  # after what a killed process left
    for seed in seeds:
        for name in SEARCHERS:
            done = [row for row in rows(log) if row["search"] == [name, seed]]
            _search(name, seed, done, space, train, log, trials)


def _search(name, seed, done, space, train, log, trials) -> None:
    with tempfile.TemporaryDirectory() as folder:
        oracle = oracles.make(
            name,
            hyperparameters=space.hyperparameters(),
            max_trials=trials,
            seed=seed,
            effective_rate=space.effective_rate,
        )
        oracle._set_project_dir(folder, "search")
        for number in range(trials):
            trial = oracle.create_trial("worker")
            values = {k: float(v) for k, v in trial.hyperparameters.values.items()}
            if number < len(done):  # a proposal is a function of the trials before it
                same = done[number]["values"]
                if any(not math.isclose(values[k], same[k]) for k in values):
                    raise SystemExit(f"{log} is another program's; give another --log")
                score = done[number]["accuracy"]
            else:
                score = train(values, derive_seed(seed, "trial", number))
                score = None if math.isnan(score) else score
                row = {"search": [name, seed], "trial": number, "accuracy": score}
                with log.open("a") as file:
                    file.write(json.dumps({**row, "values": values}) + "\n")
            _end(oracle, trial, score)


def _end(oracle: keras_tuner.Oracle, trial: Any, score: float | None) -> None:
    trial.status = "FAILED"
    if score is not None:
        oracle.update_trial(trial.trial_id, {oracles.OBJECTIVE: score})
        trial.status = "COMPLETED"
    oracle.end_trial(trial)


def rows(log: Path) -> Iterator[dict[str, Any]]:
    """The finished trials of a log; a line that a killed process left half is none."""
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def pairs(log: Path, *, trials: int = TRIALS) -> list[dict[str, Any]]:
    """Each seed's accuracies in both searches, in their order; a failure is 0. Seeds
    of which one search is not over are left out."""
    curves: dict[tuple[str, int], list[float]] = {}
    for row in rows(log):
        curves.setdefault(tuple(row["search"]), []).append(row["accuracy"] or 0.0)
    whole = {key: curve for key, curve in curves.items() if len(curve) == trials}
    return [
        {"seed": seed, **{name: whole[name, seed] for name in SEARCHERS}}
        for seed in sorted({seed for _, seed in whole})
        if all((name, seed) in whole for name in SEARCHERS)
    ]
