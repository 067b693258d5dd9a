"""Searches on real trainings: the oracle against random points and other searchers.

python benchmarks/real_search.py real --folder FOLDER    # trainings, hours
"""

import argparse
from pathlib import Path

LOG = "real.jsonl"


def arguments() -> argparse.Namespace:
    """The command and its options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    real = commands.add_parser("real", help="searches without a surrogate, in pairs")
    real.add_argument("--seeds", type=int, default=20, help="pairs of searches")
    real.add_argument("--first-seed", type=int, default=0)
    for command in (real,):
        command.add_argument(
            "--folder",
            type=Path,
            required=True,
            help="where the task and the finished trials are; goes on with those",
        )
    return parser.parse_args()


def main() -> None:
    """Runs a command."""
    args = arguments()
    if args.command == "real":
        import real_runs
        import real_task

        task = real_task.load(args.folder)
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        real_runs.run(
            real_task.space(),
            lambda point, seed: real_task.accuracy(task, point, seed=seed),
            args.folder / LOG,
            seeds=seeds,
        )


if __name__ == "__main__":
    main()
