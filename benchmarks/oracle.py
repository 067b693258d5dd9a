"""The Gaussian-process oracle against KerasTuner's own and Optuna's GPSampler."""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

# Before NumPy: the matrices are small, and threads of three libraries would compete.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import searchers  # noqa: E402

DIMENSIONS = 18
# After 300 trials the stock oracle takes a minute or so a proposal.
TIMED = (
    (100, ("ours", "keras-tuner", "optuna")),
    (300, ("ours", "optuna")),
)


def arguments() -> argparse.Namespace:
    """--only, --peers, --seeds, --proposals, --log and --json."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", choices=("time", "regret"))
    parser.add_argument(
        "--peers", nargs="+", choices=searchers.SEARCHERS, default=searchers.SEARCHERS
    )
    parser.add_argument("--seeds", type=int, default=10, help="searches per function")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--proposals", type=int, default=5, help="timed, each")
    parser.add_argument(
        "--log", type=Path, help="JSON lines; a search found there is not repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    return parser.parse_args()


def proposal_seconds(peers: Iterable[str], *, proposals: int) -> list[dict]:
    """Median seconds of the clock a proposal; the peers take turns, each seeing the
    same trials: uniform points of `Hartmann-6 in 18`."""
    problem = searchers.PROBLEMS["Hartmann-6 in 18"]
    rows = []
    for trials, timed in TIMED:
        points = np.random.default_rng(trials).uniform(size=(trials, DIMENSIONS))
        values = np.array([problem.function(point) for point in points])
        ways = {}
        for name in [name for name in timed if name in peers]:
            ways[name] = searchers.SEARCHERS[name](dimensions=DIMENSIONS, seed=1)
            ways[name].seen(points, values)
        clocks = {name: [] for name in ways}
        for _ in range(proposals):
            for name, way in ways.items():
                begin = time.perf_counter()
                point = way.ask()
                clocks[name].append(time.perf_counter() - begin)
                way.tell(problem.function(point))
        rows += [
            {"peer": name, "trials": trials, "seconds": statistics.median(clock)}
            for name, clock in clocks.items()
        ]
    return rows


def regrets(asked: argparse.Namespace) -> list[dict]:
    """Simple regret of every peer, function and seed; seed by seed, so that a run
    that is cut short has whole seeds."""
    done = []
    if asked.log and asked.log.exists():
        done = [json.loads(line) for line in asked.log.read_text().splitlines()]
    keys = {(row["peer"], row["function"], row["seed"]) for row in done}
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        for function, problem in searchers.PROBLEMS.items():
            for peer in asked.peers:
                if (peer, function, seed) in keys:
                    continue
                begin = time.perf_counter()
                found = searchers.regret(peer, problem, seed=seed)
                row = {
                    "peer": peer,
                    "function": function,
                    "seed": seed,
                    "regret": found,
                    "seconds": round(time.perf_counter() - begin, 2),
                }
                done.append(row)
                if asked.log:
                    with asked.log.open("a") as log:
                        log.write(json.dumps(row) + "\n")
    return done


def summary(rows: list[dict]) -> list[dict]:
    """Median regret, and of how many seeds, per function and peer."""
    found = []
    for function, problem in searchers.PROBLEMS.items():
        for peer in searchers.SEARCHERS:
            values = [
                row["regret"]
                for row in rows
                if row["function"] == function and row["peer"] == peer
            ]
            if values:
                found.append(
                    {
                        "function": function,
                        "trials": problem.trials,
                        "peer": peer,
                        "median_regret": statistics.median(values),
                        "seeds": len(values),
                    }
                )
    return found


def show(times: list[dict], medians: list[dict]) -> None:
    """Both tables as Markdown."""
    if times:
        print(f"\n| {DIMENSIONS} dimensions, trials | searcher | s a proposal |")
        print("|---|---|---|")
        for row in times:
            print(f"| {row['trials']} | {row['peer']} | {row['seconds']:.3f} |")
    if medians:
        print("\n| function | trials | searcher | median regret | seeds |")
        print("|---|---|---|---|---|")
        for row in medians:
            print(
                f"| {row['function']} | {row['trials']} | {row['peer']} "
                f"| {row['median_regret']:.3g} | {row['seeds']} |"
            )


def main() -> None:
    """Measures and prints."""
    asked = arguments()
    warnings.simplefilter("ignore")  # the stock oracle's fits warn at every turn
    times = medians = []
    if asked.only != "regret":
        times = proposal_seconds(asked.peers, proposals=asked.proposals)
    if asked.only != "time":
        medians = summary(regrets(asked))
    if not asked.json:
        show(times, medians)
        return
    environment = {
        "machine": platform.machine(),
        "threads": os.environ["OMP_NUM_THREADS"],
        **{
            name: version(name)
            for name in ("numpy", "scipy", "scikit-learn", "keras-tuner", "optuna")
        },
    }
    found = {"proposal_seconds": times, "regret": medians, "environment": environment}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
