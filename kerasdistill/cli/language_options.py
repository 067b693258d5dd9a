"""The options of language-model. No heavy imports."""

import argparse

from kerasdistill.cli import objective_options
from kerasdistill.cli.values import below_1, positive, positive_real
from kerasdistill.objectives import TEXTS

ARCHITECTURES = ("lstm", "cnn-lstm")


def for_summary(verb: argparse.ArgumentParser) -> None:
    """What `summary --arch lstm` needs beside."""
    add = verb.add_argument
    add("--vocabulary", type=positive, metavar="V", help="words of lstm and cnn-lstm")
    add("--size", choices=("paper", "small"), default="paper", help="of those two")
    add("--layers", type=positive, metavar="N", help="of LSTM (default: 2)")


def describe(verb: argparse.ArgumentParser) -> None:
    """Adds them."""
    add = verb.add_argument
    verb.description += (
        "; --data-dir is a folder with train.txt, valid.txt and test.txt (or "
        "ptb.train.txt and so on), a sentence a line"
    )
    add("--arch", choices=ARCHITECTURES, help="default: lstm, or the teacher's")
    add("--size", choices=("paper", "small"), help="default: paper")
    add("--layers", type=positive, metavar="N", help="of LSTM (default: 2)")
    add("--window", type=positive, metavar="T", help="words back-propagated (35)")
    add("--epochs", type=positive, metavar="N", help="default: 40")
    add("--batch-size", type=positive, metavar="N", help="streams (default: 32 or 20)")
    add("--learning-rate", type=positive_real, metavar="R", help="default: 1 or 2")
    add("--dropout", type=below_1, metavar="P", help="default: by --size")
    add("--clip-norm", type=positive_real, metavar="C", help="longest gradient (5)")
    add("--born-again", action="store_true", help="students of a teacher, in turn")
    add("--generations", type=positive, metavar="N", help="students (default: 1)")
    add("--teacher", nargs="+", metavar="PATH", help="instead of training one")
    losses = [name for name in TEXTS if name != "hard-label"]
    without = ("temperature",)
    objective_options.describe(verb, losses, default="ban+l", without=without)
    add("--teacher-signal", choices=("live", "stored"), help="default: live")
    add("--store-top-k", type=positive, metavar="K", help="words kept a step (64)")
    add("--distillation-set", metavar="PATH", help="a finished stored signal")
    add("--sample", metavar="TEXT", help="go on from TEXT with the finished model")
    add("--words", type=positive, metavar="N", help="to go on for (default: 40)")
