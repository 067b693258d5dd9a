"""A leader or a worker of a small search, as a program; also what the tests share.

    python search_program.py FOLDER lead|NAME JSON

FOLDER/runs holds a line for each time that a trial was begun and ended. A trial whose
number is in FOLDER/hold waits there until the file is removed.
"""

import json
import os
import sys
import time
from pathlib import Path

import keras_tuner

from tuners import cluster
from tuners.durable import Durable

TRIALS = 8


class Oracle(Durable, keras_tuner.oracles.RandomSearchOracle):
    """Proposes at random, saves like the searches' own."""


def make_oracle(*, trials: int = TRIALS, **options) -> Oracle:
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-4, 1e-1, sampling="log")
    space.Int("width", 4, 64)
    space.Choice("kind", ["a", "b"])
    oracle = Oracle(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=trials,
        hyperparameters=space,
        seed=7,
        **options,
    )
    oracle.verbose = 0
    return oracle


def proposed(trials: int = TRIALS) -> list[dict]:
    """What one machine alone proposes."""
    oracle = make_oracle(trials=trials)
    oracle.copied = True
    return [oracle.create_trial(str(n)).hyperparameters.values for n in range(trials)]


def score(values: dict) -> float:
    return values["width"] / 64 - abs(values["rate"] - 0.01)


def train(values: dict, folder: Path, check=lambda: None) -> float:
    """Leaves a model in the folder, and a line for each of its epochs."""
    folder.mkdir(exist_ok=True)
    log = folder / "epochs"
    done = log.read_text().count("\n") if log.exists() else 0
    for epoch in range(done, 2):
        with open(log, "a") as file:
            file.write(f"{epoch}\n")
        check()
    (folder / "results.json").write_text(json.dumps(score(values)))
    return score(values)


def held(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.glob("hold/*")]


def hold(folder: Path, *numbers: int) -> None:
    (folder / "hold").mkdir(exist_ok=True)
    for number in numbers:
        (folder / "hold" / str(number)).touch()


def release(folder: Path) -> None:
    for file in folder.glob("hold/*"):
        file.unlink()


def note(folder: Path, *words: object) -> None:
    # One write to a file opened for appending: lines of several processes stay whole.
    with open(folder / "runs", "ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\n").encode())


def runs(folder: Path, event: str) -> list[tuple[str, int]]:
    """(worker, trial) of each such event, in their order."""
    file = folder / "runs"
    lines = file.read_text().splitlines() if file.exists() else []
    words = [line.split() for line in lines]
    return [(worker, int(trial)) for kind, worker, trial in words if kind == event]


def work(folder: Path, *, worker: str, **options) -> int:
    def run(values, place, check):
        number = int(place.name.split("_")[1])
        note(folder, "begin", worker, number)
        while number in held(folder):
            time.sleep(0.02)
        found = train(values, place, check)
        note(folder, "end", worker, number)
        return found

    return cluster.work(make_oracle(), folder, worker=worker, run=run, **options)


def main(folder: str, role: str, options: str) -> int:
    given = json.loads(options)
    try:
        if role == "lead":
            cluster.lead(make_oracle(), folder, **given)
        else:
            work(Path(folder), worker=role, **given)
    except (cluster.UserError, cluster.WorkersLostError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # TensorFlow takes a while to say goodbye
