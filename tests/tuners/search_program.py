"""A chief or a worker of a small search, as a program; also what the tests share.

    python search_program.py FOLDER chief|NAME ADDRESS JSON

FOLDER/runs holds a line for each time that a trial was begun and finished. A trial
whose number is in FOLDER/hold waits there until the file is removed.
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


def make_oracle(folder: Path, *, trials: int = TRIALS, **options) -> Oracle:
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
    oracle._set_project_dir(str(folder), "search")
    oracle.verbose = 0
    return oracle


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Notes each run of a trial in the folder; waits where a trial is to be held."""

    def run_trial(self, trial, *_, **__):
        folder = Path(self.directory)
        note(folder, "begin", self.tuner_id, trial.trial_id)
        while int(trial.trial_id) in held(folder):
            time.sleep(0.02)
        note(folder, "end", self.tuner_id, trial.trial_id)
        return {"score": score(trial.hyperparameters.values)}


def score(values: dict) -> float:
    return values["width"] / 64 - abs(values["rate"] - 0.01)


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


def work(folder: Path, *, worker: str, address: str, **options) -> None:
    oracle = make_oracle(folder)
    with cluster.connect(oracle, address=address, worker=worker, **options) as chief:
        Tuner(oracle=chief, directory=str(folder), project_name="search").search()


def main(folder: str, role: str, address: str, options: str) -> int:
    asked = json.loads(options)
    try:
        if role == "chief":
            cluster.serve(make_oracle(Path(folder)), address=address, **asked)
        else:
            work(Path(folder), worker=role, address=address, **asked)
    except (cluster.UserError, cluster.WorkersLostError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # TensorFlow takes a while to say goodbye
