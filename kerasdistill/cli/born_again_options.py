"""The options of born-again. No heavy imports."""

import argparse
from collections.abc import Callable

LOSSES = ("ban", "ban+l", "cwtm", "dkpp")
SIGNALS = ("live", "stored")
STYLES = ("wide-resnet", "densenet")
SCHEDULES = ("steps", "cosine")
PERMUTATIONS = ("fresh", "fixed")

Read = Callable[[str], object]


def architecture(verb: argparse.ArgumentParser, *, above_0: Read) -> None:
    """--arch and Table 4's factors."""
    add = verb.add_argument
    add("--arch", metavar="NAME", help="such as wide-resnet-28-10 or densenet-90-60")
    add("--depth-factor", type=above_0, metavar="F", help="Table 4's, DenseNets")
    add("--compression-factor", type=above_0, metavar="F", help="Table 4's too")


def describe(
    verb: argparse.ArgumentParser, *, count: Read, above_0: Read, fraction: Read
) -> None:
    """Adds them; `count` reads a whole number above 0, `fraction` one from 0 to 1."""
    architecture(verb, above_0=above_0)
    add = verb.add_argument
    add(
        "--generations",
        type=int,
        default=1,
        metavar="N",
        help="born-again students, after generation 0 (default: 1)",
    )
    add("--loss", choices=LOSSES, default="ban", help="of the students (default: ban)")
    add("--temperature", type=above_0, metavar="T", help="of softmax (paper's: 1)")
    add("--label-weight", type=above_0, metavar="W", help="in ban+l (default: 1)")
    add("--teacher-weight", type=above_0, metavar="W", help="in ban+l (default: 1)")
    add("--permutation", choices=PERMUTATIONS, help="in dkpp (default: fresh)")
    _teacher(verb, count=count)
    _recipe(verb, count=count, above_0=above_0, fraction=fraction)
    verb.epilog = (
        "Ens*k, the ensemble of the first k students, is the logarithm of the mean of "
        "their softmax; the verb ensemble makes others, with either average."
    )


def _teacher(verb: argparse.ArgumentParser, *, count: Read) -> None:
    group = verb.add_argument_group("teacher")
    add = group.add_argument
    add("--teacher", metavar="PATH", help="generation 0: any Keras model of the data's")
    add("--custom-objects", metavar="MODULE", help="that defines its own layers")
    add("--force", action="store_true", help="accept one that has no card")
    add("--teacher-signal", choices=SIGNALS, default="live", help="default: live")
    add("--passes", type=count, metavar="N", help="to store (default: one an epoch)")
    add("--store", choices=("images", "replay"), help="of passes (default: replay)")
    add("--resident", choices=("auto", "always", "never"), help="passes in memory")


def _recipe(
    verb: argparse.ArgumentParser, *, count: Read, above_0: Read, fraction: Read
) -> None:
    group = verb.add_argument_group("recipe of all generations")
    add = group.add_argument
    add("--recipe-style", choices=STYLES, help="default: wide-resnet, the paper's")
    add("--epochs", type=count, metavar="N", help="milestones scale (default: 200)")
    add("--schedule", choices=SCHEDULES, help="learning rate (default: steps)")
    add("--learning-rate", type=above_0, metavar="R", help="initial (default: 0.1)")
    add("--batch-size", type=count, metavar="N", help="default: 128")
    add("--dropout", type=fraction, metavar="R", help="Wide-ResNets' (default: 0.3)")
    add(
        "--devices",
        default="all",
        metavar="all|N|cpu:N",
        help="GPUs to train on together, or parts of the processor (default: all)",
    )
