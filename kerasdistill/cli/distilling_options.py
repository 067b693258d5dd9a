"""Options of the verbs that distil, and of what leads there. No heavy imports.

A verb's function is called as the verb and adds its options, in groups by their use.
"""

import argparse
from typing import Any

from kerasdistill.cli import generation_options, objective_options
from kerasdistill.cli.looking_options import brought
from kerasdistill.cli.values import (
    devices_option,
    fraction,
    positive,
    positive_real,
    share,
    widths,
)
from kerasdistill.objectives import on_stored_logits
from kerasdistill.recipes.families import FAMILIES

SCHEDULES = ("paper", "cosine", "linear")
AVERAGINGS = ("mean-logits", "mean-probabilities")
PRESETS = ("snn-ecnn-mimic-30k",)
ORACLES = ("gp", "kerastuner", "random", "sobol")
REPRODUCED = ("urban-table-1", "urban-table-2", "urban-figure-1")
REPRODUCED += tuple(f"ban-table-{number}" for number in range(1, 7))
TAKE_UNLABELLED = ("precompute", "student", "verify", "born-again")  # verbs


def _teacher_widths(group: Any) -> None:
    add = group.add_argument
    about = "a network of the paper's Table 1 (default: 1)"
    add("--published", type=int, choices=(1, 2, 3), help=about)
    about = "filters of the three blocks, with --dense instead of --published"
    add("--filters", type=widths, metavar="A,B,C", help=about)
    add("--dense", type=positive, metavar="H", help="width of both dense layers")
    about = "the network of airbench94: not the paper's, but good within minutes"
    add("--fast", action="store_true", help=about)


def _student_widths(group: Any) -> None:
    add = group.add_argument
    about = "trainable parameters, such as 10M or 250000; met within a hundredth"
    add("--budget", metavar="B", help=about)
    shape = group.add_mutually_exclusive_group().add_argument
    shape("--convs", type=int, metavar="K", help="convolutions, 1 to 4")
    about = "an MLP instead, with 1 to 5 hidden layers"
    shape("--hidden", type=int, metavar="L", help=about)
    add("--kernel", type=int, choices=(3, 5), help="side of the filters (default: 5)")
    _exact_widths(group)


def _exact_widths(group: Any) -> None:
    about = "the nearest to the budget, not multiples of 16 (below 64 of 8)"
    group.add_argument("--exact-widths", action="store_true", help=about)


def _training(verb: argparse.ArgumentParser) -> Any:
    group = verb.add_argument_group("training")
    add = group.add_argument
    about = "most epochs (default: until the schedule ends)"
    add("--epochs", type=positive, metavar="N", help=about)
    add("--schedule", choices=SCHEDULES, help="of the learning rate (default: paper)")
    add("--learning-rate", type=positive_real, metavar="R", help="initial rate")
    add("--momentum", type=fraction, metavar="M", help="Nesterov momentum")
    add("--batch-size", type=positive, metavar="N", help="images a step (default: 128)")
    devices_option(add)
    return group


def summary(verb: argparse.ArgumentParser) -> None:
    about = "a family of the first paper; else --arch"
    verb.add_argument("what", nargs="?", choices=("teacher", "student"), help=about)
    _teacher_widths(verb.add_argument_group("teacher"))
    _student_widths(verb.add_argument_group("student"))
    group = verb.add_argument_group("networks of the second paper")
    generation_options.architecture(group)
    add = group.add_argument
    add("--classes", type=positive, default=10, help="logits (default: 10)")
    add("--vocabulary", type=positive, metavar="V", help="words of lstm and cnn-lstm")
    about = "of lstm and cnn-lstm (default: paper)"
    add("--size", choices=("paper", "small"), default="paper", help=about)
    add("--layers", type=positive, metavar="N", help="of lstm (default: 2)")


def teacher(verb: argparse.ArgumentParser) -> None:
    _teacher_widths(verb.add_argument_group("the network"))
    _training(verb)
    search = _search(verb)
    about = "search one dropout rate for both dense layers"
    search.add_argument("--tie-dropout", action="store_true", help=about)


def ensemble(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("members")
    source = group.add_mutually_exclusive_group(required=True).add_argument
    source("--teacher", nargs="+", metavar="PATH", help="model files to choose from")
    about = "all models of a search by teacher --trials, to choose from"
    source("--from-search", metavar="PATH", help=about)
    add = group.add_argument
    about = "which become members, by validation accuracy (default: top)"
    add("--select", choices=("all", "top", "greedy"), default="top", help=about)
    add("--size", type=positive, metavar="N", help="most members (default: 16)")
    about = "the mean of logits, or the log of the mean softmax (default: mean-logits)"
    add("--averaging", choices=AVERAGINGS, default="mean-logits", help=about)
    brought(verb)
    _force(group)


def _store(group: Any) -> None:
    from pipelines.stored.stores import STORES  # ours are put first before this

    about = "keep images, or what re-makes them (default: images)"
    group.add_argument("--store", choices=STORES, help=about)


def _force(group: Any) -> None:
    about = "accept a teacher whose answers look suspicious"
    group.add_argument("--force", action="store_true", help=about)


def precompute(verb: argparse.ArgumentParser) -> None:
    from pipelines.stored.targets import ENCODINGS  # as above

    group = verb.add_argument_group("what is stored")
    add = group.add_argument
    about = "model files; the mean of their logits is stored"
    add("--teacher", nargs="+", required=True, metavar="PATH", help=about)
    about = "augmented sweeps over the training images (default: 160)"
    add("--passes", type=positive, metavar="N", help=about)
    _store(group)
    about = "keep every teacher's logits beside the mean, to choose from later"
    add("--keep-members", action="store_true", help=about)
    about = "how logits are stored (default: float32)"
    add("--logits-dtype", choices=ENCODINGS, help=about)
    _force(group)
    group = verb.add_argument_group("where and how")
    about = "processes that label (default: one a core)"
    group.add_argument("--workers", type=positive, metavar="N", help=about)
    result = group.add_mutually_exclusive_group()
    about = "give a finished set more passes or members"
    result.add_argument("--extend", metavar="PATH", help=about)
    about = "where the set goes: a path or a URL such as gs://bucket/set"
    result.add_argument("--output", metavar="PATH", help=about)
    brought(verb)
    verb.epilog = "Options that Beam knows go to Beam; after -- everything does."


def student(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("the student")
    _student_widths(group)
    about = "family of the budget (default: urban)"
    group.add_argument("--arch", choices=[*FAMILIES], help=about)
    whole = group.add_mutually_exclusive_group().add_argument
    whole("--recipe", metavar="FILE", help="a run's recipe.json instead of widths")
    whole("--preset", choices=PRESETS, help="a named student instead of widths")
    about = "your own model file, or keras:NAME, as it is"
    whole("--student", metavar="PATH", help=about)
    _signal(verb)
    objective_options.describe(
        _training(verb), on_stored_logits(), default="logit-regression"
    )
    brought(verb)
    _search(verb)


def _signal(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("what it learns from")
    signal, add = group.add_mutually_exclusive_group().add_argument, group.add_argument
    signal("--distillation-set", metavar="PATH", help="a finished set")
    about = "model files that label the images first"
    signal("--teacher", nargs="+", metavar="PATH", help=about)
    about = "how many of the published teachers to train first (default: 3)"
    signal("--teachers", type=int, choices=(1, 2, 3), help=about)
    signal("--fast", action="store_true", help="train one fast teacher first")
    about = "sweeps to label, or to read of a set (default: 160, or all)"
    add("--passes", type=positive, metavar="N", help=about)
    _store(group)
    about = "members of the set to average, from 1 (default: all)"
    add("--members", type=widths, metavar="I,J", help=about)
    about = "of members (default: mean-logits)"
    add("--averaging", choices=AVERAGINGS, help=about)
    resident, about = (
        ("auto", "always", "never"),
        "hold passes in memory (default: auto)",
    )
    add("--resident", choices=resident, default="auto", help=about)
    _force(group)


def verify(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set")
    about = "views that are scored again (default: 1024)"
    add("--sample", type=positive, default=1024, metavar="N", help=about)
    about = "the set's teachers, if they are not where they were"
    add("--teacher", nargs="+", metavar="PATH", help=about)
    brought(verb)


def baseline(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("the network")
    _student_widths(group)
    group.add_argument("--recipe", metavar="FILE", help="a baseline's recipe.json")
    _training(verb)
    _search(verb)


def reproduce(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("table", choices=REPRODUCED, help="of the first or the second paper")
    about = "share of the paper's epochs and passes (default: 1)"
    add("--scale", type=share, default=1.0, metavar="S", help=about)
    about = "search each cell (default: no search; 20 for the figure)"
    add("--trials", type=positive, metavar="N", help=about)
    add("--max-budget", metavar="B", help="leave out larger students")
    _exact_widths(verb)
    about = "model files instead of the three published teachers"
    add("--teacher", nargs="+", metavar="PATH", help=about)
    _store(verb)


def _search(verb: argparse.ArgumentParser) -> Any:
    search = verb.add_argument_group("search for hyperparameters and widths")
    add = search.add_argument
    add("--trials", type=positive, metavar="N", help="how many, earlier ones included")
    about = (
        "what proposes trials (default: gp). gp learns from the trials before and pays "
        "from about 10 on. sobol covers the space evenly and pays for fewer. random "
        "shows what a search is worth. kerastuner is KerasTuner's own, to compare."
    )
    add("--oracle", choices=ORACLES, help=about)
    about = "hold this dimension at a value; may be repeated"
    add("--fix", action="append", metavar="NAME=VALUE", help=about)
    add("--space", action="store_true", help="print what is searched, and end")
    add("--prune", action="store_true", help="stop trials that lag behind the median")
    about = "train the best recipe K times more, with other seeds"
    add("--seeds", type=positive, metavar="K", help=about)
    add("--search", metavar="PATH", help="the search's folder (default: in --workdir)")
    about = "views of an epoch, in trials (default: all)"
    add("--objective-views", type=positive, metavar="N", help=about)
    about = "validation images, in trials (default: all)"
    add("--objective-images", type=positive, metavar="N", help=about)
    add = verb.add_argument_group("a search by many processes").add_argument
    about = "lead workers; the address is only a name, no port is opened"
    add("--chief", metavar="HOST:PORT", help=about)
    add("--worker", metavar="NAME", help="run trials of the search, by this name")
    about = "seconds without a sign after which a worker counts as dead (default: 60)"
    add("--worker-timeout", type=positive, metavar="S", help=about)
    return search
