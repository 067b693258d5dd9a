"""Searches on real trainings: the oracle against random points and other searchers.

    python benchmarks/real_search.py real --folder FOLDER    # trainings, hours
    python benchmarks/real_search.py surrogates --folder FOLDER --table trainings.csv
    python benchmarks/real_search.py collect --folder FOLDER # results/, README.md

Each goes on with what it finds in the folder.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

REAL, SURROGATES = "real.jsonl", "surrogates.jsonl"


def arguments() -> argparse.Namespace:
    """The command and its options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    real = commands.add_parser("real", help="searches without a surrogate, in pairs")
    surrogates = commands.add_parser("surrogates", help="searches on surrogates")
    surrogates.add_argument(
        "--table", type=Path, required=True, help="of trainings, which they stand for"
    )
    surrogates.add_argument("--searchers", nargs="+", help="some of them (all)")
    for command, seeds in ((real, 20), (surrogates, 40)):
        command.add_argument("--seeds", type=int, default=seeds, help="searches each")
        command.add_argument("--first-seed", type=int, default=0)
    collect = commands.add_parser("collect", help="writes what was found, so far")
    for command in (real, surrogates, collect):
        command.add_argument("--folder", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Runs a command."""
    args = arguments()
    if args.command == "collect":
        import real_tables

        real_tables.write(args.folder / REAL, args.folder / SURROGATES)
        return
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    import real_task

    if args.command == "real":
        import real_runs

        task = real_task.load(args.folder)
        real_runs.run(
            real_task.space(),
            lambda point, seed: real_task.accuracy(task, point, seed=seed),
            args.folder / REAL,
            seeds=seeds,
        )
    else:
        import surrogate_runs
        import surrogates

        found = surrogates.load(args.table, real_task.space())
        names = args.searchers or surrogate_runs.NAMES
        log = args.folder / SURROGATES
        surrogate_runs.run(found, log, names=names, seeds=seeds)


if __name__ == "__main__":
    main()
