"""Options that would change nothing beside others: refused, not ignored."""

import argparse
from collections.abc import Callable
from typing import Any

from kerasdistill.cli.generation_options import LANGUAGE_MODELS
from kerasdistill.errors import UserError

# The grammar's own default is None for these, so that it shows whether one was given.
DEFAULTS = {
    "dataset": "cifar10",
    "split_seed": 0,
    "kernel": 5,
}
Fits = Callable[[argparse.Namespace], bool]


def settle(args: argparse.Namespace) -> None:
    """Checks a parsed command line, then fills in `DEFAULTS`.

    Raises:
        UserError: names an option that the rest leaves without effect.
    """
    for options, fits, where in RULES.get(args.verb, ()):
        for name in options.split():
            if _is_given(getattr(args, name)) and not fits(args):
                option = name.replace("_", "-")
                raise UserError(f"--{option} belongs to {where}; leave it out")
    args.dataset_given = args.dataset is not None
    for name, value in DEFAULTS.items():
        if getattr(args, name, 0) is None:
            setattr(args, name, value)


def searches(args: argparse.Namespace) -> bool:
    """Whether student, baseline or teacher is to search, or to print its space."""
    return args.trials is not None or args.space


def _is_given(value: Any) -> bool:
    return not (value is None or value is False or value == ())  # 0 is given


def _with(name: str) -> Fits:
    return lambda args: _is_given(getattr(args, name))


def _without(name: str) -> Fits:
    return lambda args: not _is_given(getattr(args, name))


def _is(name: str, *values: str | None) -> Fits:
    return lambda args: getattr(args, name) in values


def _trains(args: argparse.Namespace) -> bool:
    return not searches(args)


def _has_widths(args: argparse.Namespace) -> bool:
    whole = ("recipe", "preset", "student")  # each of them has its own
    return all(getattr(args, name, None) is None for name in whole)


def _has_filters(args: argparse.Namespace) -> bool:
    return _has_widths(args) and args.hidden is None


def _teaches(args: argparse.Namespace) -> bool:
    return args.born_again or args.teacher is not None


def _compares(args: argparse.Namespace) -> bool:
    return args.path[:1] in (["search"], ["born-again"])


_SHARED = "--distillation-set PATH, which all workers read (precompute makes one)"
_ALONE = "--teacher-signal live, as Beam's workers don't know them"
_IMAGES = "verbs on images (a text lies in --data-dir)"
_STORED = "--teacher-signal stored"
_OWN = "sets and signals that are made here, not to --distillation-set"
_WIDTHS = "students without --recipe, --preset and --student"
_PUBLISHED = ("published filters dense", _without("fast"), "teachers without --fast")
_SUMMARY = "budget convs hidden kernel exact_widths"
_FILTERS = ("kernel", _has_filters, "--budget B --convs K")
_BROUGHT = "weights teacher_output teacher_input teacher_head"
_OTHERS = (_BROUGHT, _with("teacher"), "--teacher PATH")
_SEARCH_ONLY = "oracle fix prune seeds search objective_views objective_images chief "
_SEARCH_ONLY += "worker worker_timeout"
_ONCE = "single trainings, not to --trials, which pins values by --fix NAME=VALUE"
_SEARCH = (
    (_SEARCH_ONLY, searches, "a search (add --trials N)"),
    ("worker worker_timeout", _with("chief"), "--chief HOST:PORT"),
    ("tracker", _without("worker"), "the chief, which hears of every trial"),
    ("learning_rate momentum", _trains, _ONCE),
)
_STUDENT = (
    ("recipe", _trains, _ONCE),
    ("budget convs hidden exact_widths", _has_widths, _WIDTHS),
    _FILTERS,
    *_SEARCH,
)
_STUDENTS = "generations loss label_weight teacher_weight teacher_signal store_top_k "
_STUDENTS += "distillation_set"
_URBAN = ("urban-table-1", "urban-table-2", "urban-figure-1")

# A verb -> its rules: options, the command lines they belong to, and what these have.
# What needs more than the command line is checked elsewhere.
RULES: dict[str, tuple[tuple[str, Fits, str], ...]] = {
    "student": (
        *_STUDENT,
        ("preset student arch", _trains, _ONCE),
        ("arch", _has_widths, _WIDTHS),
        ("convs hidden exact_widths", _is("arch", None, "urban"), "--arch urban"),
        ("chief", _with("distillation_set"), _SHARED),
        _OTHERS,
        ("store force", _without("distillation_set"), _OWN),
        ("members averaging", _with("distillation_set"), "--distillation-set PATH"),
    ),
    "baseline": _STUDENT,
    "teacher": (
        *_SEARCH,
        ("tie_dropout", searches, "a search (add --trials N)"),
        ("published filters dense fast", _trains, _ONCE),
        _PUBLISHED,
    ),
    "ensemble": (
        _OTHERS,
        ("size", _is("select", "top", "greedy"), "--select top and --select greedy"),
    ),
    "verify": (_OTHERS,),
    "precompute": (
        ("store logits_dtype keep_members", _without("extend"), "sets that are new"),
    ),
    "summary": (
        ("published filters dense fast", _is("what", "teacher"), "summary teacher"),
        (_SUMMARY, _is("what", "student"), "summary student"),
        _PUBLISHED,
        _FILTERS,
        ("depth_factor compression_factor", _with("arch"), "--arch NAME"),
        ("layers vocabulary", _is("arch", *LANGUAGE_MODELS), "--arch lstm or cnn-lstm"),
    ),
    "born-again": (
        ("passes store resident", _is("teacher_signal", "stored"), _STORED),
        ("custom_objects force", _with("teacher"), "--teacher PATH"),
        ("custom_objects", _is("teacher_signal", "live"), _ALONE),
        _OTHERS,
    ),
    "language-model": (
        # --dataset and --split-seed are common to all verbs: scripts give them to all.
        ("image_size grey strict drop_duplicates", lambda args: False, _IMAGES),
        (_STUDENTS, _teaches, "students (add --born-again)"),
        ("distillation_set", _with("teacher"), "students of --teacher PATH"),
        ("distillation_set", lambda args: args.teacher_signal != "live", _STORED),
        (
            "store_top_k",
            # The set that is given is the first student's.
            lambda args: args.distillation_set is None or (args.generations or 1) > 1,
            _OWN,
        ),
        ("store_top_k", _is("teacher_signal", "stored"), _STORED),
        ("words", _with("sample"), "--sample TEXT"),
    ),
    "report": (
        ("html format papers", lambda args: not _compares(args), "report of all runs"),
    ),
    "runs": (
        ("run unfinished unreferenced dry_run", _is("what", "clean"), "runs clean"),
    ),
    "reproduce": (
        ("trials max_budget exact_widths", _is("table", *_URBAN), ", ".join(_URBAN)),
        ("teacher store", _is("table", *_URBAN[1:]), ", ".join(_URBAN[1:])),
    ),
}
