"""Options of the verbs that distil, and of what leads there. No heavy imports."""

import argparse

from kerasdistill.cli import (
    born_again_options,
    language_options,
    objective_options,
    search_options,
)
from kerasdistill.cli.looking_options import trust
from kerasdistill.cli.values import fraction, positive, positive_real, share, widths
from kerasdistill.objectives import on_stored_logits
from kerasdistill.recipes.families import FAMILIES

SCHEDULES = ("paper", "cosine", "linear")
AVERAGINGS = ("mean-logits", "mean-probabilities")
SELECTIONS = ("all", "top", "greedy")
REPRODUCED = (
    *("urban-table-1", "urban-table-2", "urban-figure-1"),
    *("ban-table-1", "ban-table-2", "ban-table-3"),
    *("ban-table-4", "ban-table-5", "ban-table-6"),
)
PRESETS = ("snn-ecnn-mimic-30k",)
TEACHER_OUTPUTS = ("logits", "probabilities")
RESIDENT = ("auto", "always", "never")
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
    """Layers and parameters."""
    add = verb.add_argument
    add("what", nargs="?", choices=("teacher", "student"), help="which family")
    _teacher_widths(verb)
    _student_widths(verb)
    born_again_options.architecture(verb)
    verb.add_argument("--classes", type=positive, default=10, help="logits")
    language_options.for_summary(verb)


def teacher(verb: argparse.ArgumentParser) -> None:
    """Trained on labels."""
    _teacher_widths(verb)
    _training(verb)
    search_options.describe(verb)
    search_options.tie_dropout(verb)


def _others(verb: argparse.ArgumentParser) -> None:
    """Teachers that were made elsewhere."""
    group = verb.add_argument_group(
        "teachers of others",
        "--teacher takes .keras files, SavedModel folders and keras:NAME[@SIDE] of "
        "Keras Applications; what images need before them becomes layers around them",
    )
    add = group.add_argument
    add("--weights", nargs="+", metavar="FILE", default=(), help="of each keras:NAME")
    add("--teacher-output", choices=TEACHER_OUTPUTS, help="(default: logits)")
    trust(verb)


def ensemble(verb: argparse.ArgumentParser) -> None:
    """Joined teachers."""
    given = verb.add_mutually_exclusive_group(required=True)
    given.add_argument("--teacher", nargs="+", metavar="PATH")
    given.add_argument(
        "--from-search", metavar="PATH", help="all trials of teacher --trials"
    )
    verb.add_argument(
        "--select",
        choices=SELECTIONS,
        default="top",
        help="which become members, by validation accuracy (default: top)",
    )
    verb.add_argument(
        "--size", type=positive, metavar="N", help="most members (default: 16)"
    )
    verb.add_argument(
        "--averaging",
        choices=AVERAGINGS,
        default="mean-logits",
        help="or log of the mean softmax, the Born-Again ensembles' (mean-logits)",
    )
    _others(verb)
    _force(verb)


def _store(verb: argparse.ArgumentParser) -> None:
    from pipelines.stored.stores import STORES  # ours are put first before this

    verb.add_argument("--store", choices=STORES, help="what is kept (default: images)")


def _force(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--force", action="store_true", help="accept a card-less, disagreeing teacher"
    )


def precompute(verb: argparse.ArgumentParser) -> None:
    """Labelled passes."""
    from pipelines.stored.targets import ENCODINGS  # as above

    add = verb.add_argument
    add("--teacher", nargs="+", required=True, metavar="PATH")
    add("--passes", type=int, help="sweeps (default: 160)")
    add("--workers", type=positive, help="processes (default: cores)")
    _store(verb)
    add(
        "--keep-members",
        action="store_true",
        help="keep every teacher's logits beside the mean, to choose from later",
    )
    add("--logits-dtype", choices=ENCODINGS, help="default: float32")
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--extend", metavar="PATH", help="give a finished set more passes or members"
    )
    where.add_argument(
        "--output", metavar="PATH", help="a path or URL such as gs://bucket/set"
    )
    _others(verb)
    _force(verb)
    verb.epilog = "Options that Beam knows go to Beam; after -- everything does."


def student(verb: argparse.ArgumentParser) -> None:
    """Distilled."""
    add = verb.add_argument
    _student_widths(verb)
    add("--arch", choices=[*FAMILIES], help="family of the budget (default: urban)")
    add("--recipe", metavar="FILE", help="a run's recipe.json instead of widths")
    add("--preset", choices=PRESETS, help="a named student instead of widths")
    add("--student", metavar="PATH", help="a .keras file or keras:NAME, as it is")
    _training(verb)
    signal = verb.add_mutually_exclusive_group()
    signal.add_argument("--distillation-set", metavar="PATH", help="a finished set")
    signal.add_argument("--teacher", nargs="+", metavar="PATH", help="teachers to ask")
    signal.add_argument("--teachers", type=int, metavar="N", help="to train, 1 to 3")
    signal.add_argument("--fast", action="store_true", help="train one fast teacher")
    add("--members", type=widths, metavar="I,J", help="of the set, from 1 (all)")
    add("--averaging", choices=AVERAGINGS, help="of members (default: mean-logits)")
    add("--passes", type=int, help="sweeps to label (default: 160)")
    _store(verb)
    _others(verb)
    _force(verb)
    add("--resident", choices=RESIDENT, default="auto", help="hold passes in memory")
    objective_options.describe(verb, on_stored_logits(), default="logit-regression")
    search_options.describe(verb)


def verify(verb: argparse.ArgumentParser) -> None:
    """Scored again."""
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set")
    add("--sample", type=positive, default=1024, metavar="N", help="views (1024)")
    add("--teacher", nargs="+", metavar="PATH", help="if not where they were")
    trust(verb)


def baseline(verb: argparse.ArgumentParser) -> None:
    """A student on labels."""
    _student_widths(verb)
    verb.add_argument("--recipe", metavar="FILE", help="a baseline's recipe.json")
    _training(verb)
    search_options.describe(verb)


def reproduce(verb: argparse.ArgumentParser) -> None:
    """A table's runs."""
    add = verb.add_argument
    add("table", choices=REPRODUCED, help="which")
    add("--scale", type=share, default=1.0, metavar="S", help="of all epochs, passes")
    add("--trials", type=positive, metavar="N", help="search each cell (figure: 20)")
    add("--max-budget", metavar="B", help="leave out larger students")
    add("--teacher", nargs="+", metavar="PATH", help="instead of the three published")
    _store(verb)
