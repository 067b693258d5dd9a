"""Options that would change nothing beside others: refused, not ignored."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kerasdistill.cli.language_options import ARCHITECTURES
from kerasdistill.errors import UserError

# The grammar's own default is None for these, so that it shows whether one was given.
DEFAULTS = {
    "dataset": "cifar10",
    "image_size": 32,
    "split_seed": 0,
    "kernel": 5,
    "teacher_output": "logits",
}


@dataclass(frozen=True)
class Rule:
    """`options`, which belong to command lines that `fit`: those with `where`."""

    options: tuple[str, ...]
    fit: Callable[[argparse.Namespace], bool]
    where: str


def settle(args: argparse.Namespace) -> None:
    """Checks a parsed command line, then fills in `DEFAULTS`.

    Raises:
        UserError: names an option that the rest leaves without effect.
    """
    for rule in RULES.get(args.verb, ()):
        for name in rule.options:
            if _is_given(getattr(args, name)) and not rule.fit(args):
                option = name.replace("_", "-")
                raise UserError(f"--{option} belongs to {rule.where}; leave it out")
    for name, value in DEFAULTS.items():
        if getattr(args, name, 0) is None:
            setattr(args, name, value)


def _is_given(value: Any) -> bool:
    return not (value is None or value is False or value == ())  # 0 is given


def _shaped(args: argparse.Namespace) -> bool:
    """Whether it describes a student with filters."""
    whole = ("recipe", "preset", "student")  # each is a student of its own
    given = (args.hidden, *(getattr(args, name, None) for name in whole))
    return given == (None,) * len(given)


_FILTERS = Rule(("kernel",), _shaped, "--budget B --convs K")
_OTHERS = Rule(
    ("weights", "teacher_output"),
    lambda args: args.teacher is not None,
    "--teacher PATH",
)

# A verb -> its rules. What needs more than the command line is checked elsewhere.
RULES: dict[str, tuple[Rule, ...]] = {
    "student": (
        _FILTERS,
        _OTHERS,
        Rule(
            ("temperature", "alpha"),
            # A recipe's loss is in its file.
            lambda args: (args.loss or args.recipe) not in (None, "logit-regression"),
            "--loss kd",
        ),
        Rule(
            ("store", "force"),
            lambda args: args.distillation_set is None,
            "sets that are made here, not to --distillation-set",
        ),
    ),
    "baseline": (_FILTERS,),
    "ensemble": (_OTHERS,),
    "summary": (
        Rule(
            ("published", "filters", "dense"),
            lambda args: args.what == "teacher",
            "summary teacher",
        ),
        Rule(
            ("budget", "convs", "hidden", "kernel"),
            lambda args: args.what == "student",
            "summary student",
        ),
        _FILTERS,
        Rule(
            ("layers",),
            lambda args: args.arch in ARCHITECTURES,
            "--arch lstm and --arch cnn-lstm",
        ),
    ),
    "language-model": (
        Rule(
            ("dataset", "image_size", "grey", "split_seed"),
            lambda args: False,
            "verbs on images (a text lies in --data-dir)",
        ),
        Rule(
            ("distillation_set",),
            lambda args: args.teacher_signal != "live",
            "--teacher-signal stored",
        ),
        Rule(
            ("store_top_k",),
            # The set that is given is the first student's.
            lambda args: args.distillation_set is None or (args.generations or 1) > 1,
            "signals that are made here, not to --distillation-set",
        ),
    ),
}
