"""Readers of options' values, and options of many verbs. No heavy imports."""

import argparse
from collections.abc import Callable
from typing import Any

from kerasdistill.training.trackers import TRACKERS


def number(
    kind: Callable[[str], Any], accept: Callable[[Any], bool], expected: str
) -> Callable[[str], Any]:
    """A reader for argparse: `kind` of the text, where `accept` takes it."""

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


natural = number(int, lambda n: 0 <= n < 2**31, "a whole number from 0 to 2^31-1")
positive = number(int, lambda n: n > 0, "a whole number above 0")
positive_real = number(float, lambda x: 0 < x < float("inf"), "a number above 0")
share = number(float, lambda x: 0 < x <= 1, "above 0 and at most 1")
below_1 = number(float, lambda x: 0 <= x < 1, "a number from 0 to below 1")
fraction = number(float, lambda x: 0 <= x <= 1, "a number from 0 to 1")


def plan_option(verb: argparse.ArgumentParser) -> None:
    """--plan: say what is left and costs, and stop."""
    names, about = ("--plan", "--dry-run"), "say the steps and what they cost, and stop"
    verb.add_argument(*names, dest="plan", action="store_true", help=about)


def tracker_option(verb: argparse.ArgumentParser) -> None:
    """--tracker: what follows the runs."""
    about = "log runs there too: parameters, curves, results"
    verb.add_argument("--tracker", choices=TRACKERS, help=about)


def widths(text: str) -> tuple[int, ...]:
    """Whole numbers above 0 between commas."""
    return tuple(positive(part) for part in text.split(","))


def devices_option(add: Callable[..., argparse.Action]) -> None:
    """--devices, by `add_argument` of a verb or of one of its groups."""
    about = "GPUs to train on together, or parts of the processor (default: all)"
    add("--devices", default="all", metavar="all|N|cpu:N", help=about)
