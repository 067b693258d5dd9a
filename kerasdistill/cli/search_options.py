"""The options that student, baseline and teacher share to search. No heavy imports."""

import argparse
from collections.abc import Callable

from kerasdistill.cli.values import positive

ORACLES = ("gp", "kerastuner", "random")
# They mean nothing without --trials.
ONLY = (
    "oracle",
    "fix",
    "prune",
    "seeds",
    "search",
    "objective_views",
    "objective_images",
    "tie_dropout",
    "chief",
    "worker",
    "worker_timeout",
)


def describe(verb: argparse.ArgumentParser) -> None:
    """Adds them, and --devices."""
    devices(verb.add_argument)
    group = verb.add_argument_group("search for hyperparameters and widths")
    add = group.add_argument
    add("--trials", type=positive, metavar="N", help="how many, earlier ones included")
    add("--oracle", choices=ORACLES, help="what proposes trials (default: gp)")
    add("--fix", action="append", metavar="NAME=VALUE", help="don't search this one")
    add("--space", action="store_true", help="print what is searched, and end")
    add("--prune", action="store_true", help="stop trials that lag behind the median")
    add("--seeds", type=positive, metavar="K", help="train the best K times more")
    add("--search", metavar="PATH", help="the search's folder (default: in --workdir)")
    add("--objective-views", type=positive, metavar="N", help="of an epoch, in trials")
    add(
        "--objective-images",
        type=positive,
        metavar="N",
        help="validating, in trials",
    )
    add("--chief", metavar="HOST:PORT", help="lead workers, which run the trials")
    add("--worker", metavar="NAME", help="run trials for the chief, under this name")
    add(
        "--worker-timeout",
        type=positive,
        metavar="S",
        help="seconds unheard, then a worker is taken for dead (chief; default: 60)",
    )


def devices(add: Callable[..., argparse.Action]) -> None:
    """--devices, by `add_argument` of a verb or of one of its groups."""
    add(
        "--devices",
        default="all",
        metavar="all|N|cpu:N",
        help="GPUs to train on together, or parts of the processor (default: all)",
    )


def tie_dropout(verb: argparse.ArgumentParser) -> None:
    """The teachers' space with 17 dimensions."""
    verb.add_argument(
        "--tie-dropout",
        action="store_true",
        help="search one dropout rate for both dense layers",
    )
