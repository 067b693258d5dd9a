"""Options of the verbs that distil, and of what leads there. No heavy imports.

A verb's function is called as the verb and adds its options.
"""

import argparse

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
ORACLES = ("gp", "kerastuner", "random")
REPRODUCED = ("urban-table-1", "urban-table-2", "urban-figure-1")
REPRODUCED += tuple(f"ban-table-{number}" for number in range(1, 7))
TAKE_UNLABELLED = ("precompute", "student", "verify", "born-again")  # verbs


def _teacher_widths(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--published", type=int, choices=(1, 2, 3), help="the paper's (default: 1)")
    add("--filters", type=widths, metavar="A,B,C", help="filters of the three blocks")
    add("--dense", type=positive, metavar="H", help="width of both dense layers")
    add("--fast", action="store_true", help="not the paper's: good within minutes")


def _student_widths(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--budget", metavar="B", help="trainable parameters, such as 10M or 250000")
    shape = verb.add_mutually_exclusive_group()
    shape.add_argument("--convs", type=int, metavar="K", help="convolutions, 1 to 4")
    shape.add_argument("--hidden", type=int, metavar="L", help="an MLP's layers, 1-5")
    add("--kernel", type=int, choices=(3, 5), help="filter side (5)")


def _training(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--epochs", type=positive, metavar="N", help="most epochs (default: no limit)")
    add("--schedule", choices=SCHEDULES, help="learning rate (default: paper)")
    add("--learning-rate", type=positive_real, metavar="R", help="initial rate")
    add("--momentum", type=fraction, metavar="M", help="Nesterov momentum")
    add("--batch-size", type=positive, metavar="N", help="default: 128")


def summary(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("what", nargs="?", choices=("teacher", "student"), help="which family")
    _teacher_widths(verb)
    _student_widths(verb)
    generation_options.architecture(verb)
    add("--classes", type=positive, default=10, help="logits")
    add("--vocabulary", type=positive, metavar="V", help="words of lstm and cnn-lstm")
    add("--size", choices=("paper", "small"), default="paper", help="of those two")
    add("--layers", type=positive, metavar="N", help="of LSTM (default: 2)")


def teacher(verb: argparse.ArgumentParser) -> None:
    _teacher_widths(verb)
    _training(verb)
    _search(verb)
    about = "search one dropout rate for both dense layers"
    verb.add_argument("--tie-dropout", action="store_true", help=about)


def ensemble(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    source = verb.add_mutually_exclusive_group(required=True)
    source.add_argument("--teacher", nargs="+", metavar="PATH")
    about = "all trials of teacher --trials"
    source.add_argument("--from-search", metavar="PATH", help=about)
    about = "which become members, by validation accuracy (default: top)"
    add("--select", choices=("all", "top", "greedy"), default="top", help=about)
    add("--size", type=positive, metavar="N", help="most members (default: 16)")
    about = "or log of the mean softmax, the Born-Again ensembles' (mean-logits)"
    add("--averaging", choices=AVERAGINGS, default="mean-logits", help=about)
    brought(verb)
    _force(verb)


def _store(verb: argparse.ArgumentParser) -> None:
    from pipelines.stored.stores import STORES  # ours are put first before this

    verb.add_argument("--store", choices=STORES, help="what is kept (default: images)")


def _force(verb: argparse.ArgumentParser) -> None:
    about = "accept a teacher whose answers look suspicious"
    verb.add_argument("--force", action="store_true", help=about)


def precompute(verb: argparse.ArgumentParser) -> None:
    from pipelines.stored.targets import ENCODINGS  # as above

    add = verb.add_argument
    add("--teacher", nargs="+", required=True, metavar="PATH")
    add("--passes", type=positive, metavar="N", help="sweeps (default: 160)")
    add("--workers", type=positive, metavar="N", help="processes (default: cores)")
    _store(verb)
    about = "keep every teacher's logits beside the mean, to choose from later"
    add("--keep-members", action="store_true", help=about)
    add("--logits-dtype", choices=ENCODINGS, help="default: float32")
    result = verb.add_mutually_exclusive_group()
    about = "give a finished set more passes or members"
    result.add_argument("--extend", metavar="PATH", help=about)
    about = "a path or URL such as gs://bucket/set"
    result.add_argument("--output", metavar="PATH", help=about)
    brought(verb)
    _force(verb)
    verb.epilog = "Options that Beam knows go to Beam; after -- everything does."


def student(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    _student_widths(verb)
    add("--arch", choices=[*FAMILIES], help="family of the budget (default: urban)")
    whole = verb.add_mutually_exclusive_group().add_argument
    whole("--recipe", metavar="FILE", help="a run's recipe.json instead of widths")
    whole("--preset", choices=PRESETS, help="a named student instead of widths")
    whole("--student", metavar="PATH", help="a model file or keras:NAME, as it is")
    _training(verb)
    signal = verb.add_mutually_exclusive_group()
    signal.add_argument("--distillation-set", metavar="PATH", help="a finished set")
    signal.add_argument("--teacher", nargs="+", metavar="PATH", help="teachers to ask")
    signal.add_argument("--teachers", type=int, choices=(1, 2, 3), help="to train")
    signal.add_argument("--fast", action="store_true", help="train one fast teacher")
    add("--members", type=widths, metavar="I,J", help="of the set, from 1 (all)")
    add("--averaging", choices=AVERAGINGS, help="of members (default: mean-logits)")
    add("--passes", type=positive, metavar="N", help="sweeps to label (default: 160)")
    _store(verb)
    brought(verb)
    _force(verb)
    resident = ("auto", "always", "never")
    add("--resident", choices=resident, default="auto", help="hold passes in memory")
    objective_options.describe(verb, on_stored_logits(), default="logit-regression")
    _search(verb)


def verify(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set")
    add("--sample", type=positive, default=1024, metavar="N", help="views (1024)")
    add("--teacher", nargs="+", metavar="PATH", help="if not where they were")
    brought(verb)


def baseline(verb: argparse.ArgumentParser) -> None:
    _student_widths(verb)
    verb.add_argument("--recipe", metavar="FILE", help="a baseline's recipe.json")
    _training(verb)
    _search(verb)


def reproduce(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("table", choices=REPRODUCED, help="which")
    add("--scale", type=share, default=1.0, metavar="S", help="of all epochs, passes")
    add("--trials", type=positive, metavar="N", help="search each cell (figure: 20)")
    add("--max-budget", metavar="B", help="leave out larger students")
    add("--teacher", nargs="+", metavar="PATH", help="instead of the three published")
    _store(verb)


def _search(verb: argparse.ArgumentParser) -> None:
    devices_option(verb.add_argument)
    add = verb.add_argument_group("search for hyperparameters and widths").add_argument
    add("--trials", type=positive, metavar="N", help="how many, earlier ones included")
    add("--oracle", choices=ORACLES, help="what proposes trials (default: gp)")
    add("--fix", action="append", metavar="NAME=VALUE", help="don't search this one")
    add("--space", action="store_true", help="print what is searched, and end")
    add("--prune", action="store_true", help="stop trials that lag behind the median")
    add("--seeds", type=positive, metavar="K", help="train the best K times more")
    add("--search", metavar="PATH", help="the search's folder (default: in --workdir)")
    add("--objective-views", type=positive, metavar="N", help="of an epoch, in trials")
    add("--objective-images", type=positive, metavar="N", help="validating, in trials")
    add("--chief", metavar="HOST:PORT", help="lead workers; only a name, no port")
    add("--worker", metavar="NAME", help="run trials of the search, by this name")
    about = "seconds unheard, then a worker is taken for dead (chief; default: 60)"
    add("--worker-timeout", type=positive, metavar="S", help=about)
