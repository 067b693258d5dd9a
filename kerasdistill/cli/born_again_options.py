"""The options of born-again. No heavy imports."""

import argparse

from kerasdistill.cli import objective_options, search_options
from kerasdistill.cli.values import below_1, positive, positive_real
from kerasdistill.objectives import on_stored_logits

LOSS = "ban"
SIGNALS = ("live", "stored")
STYLES = ("wide-resnet", "densenet")
SCHEDULES = ("steps", "cosine")


def architecture(verb: argparse.ArgumentParser) -> None:
    """--arch and Table 4's factors."""
    add = verb.add_argument
    add("--arch", metavar="NAME", help="such as wide-resnet-28-10 or densenet-90-60")
    add("--depth-factor", type=positive_real, metavar="F", help="Table 4's, DenseNets")
    add("--compression-factor", type=positive_real, metavar="F", help="Table 4's too")


def describe(verb: argparse.ArgumentParser) -> None:
    """Adds them."""
    architecture(verb)
    add = verb.add_argument
    add(
        "--generations",
        type=int,
        default=1,
        metavar="N",
        help="born-again students, after generation 0 (default: 1)",
    )
    losses = [*on_stored_logits(), "hard-label"]
    objective_options.describe(verb, losses, default=LOSS)
    verb.set_defaults(loss=LOSS)
    _teacher(verb)
    _recipe(verb)
    verb.epilog = (
        "Ens*k, the ensemble of the first k students, is the logarithm of the mean of "
        "their softmax; the verb ensemble makes others, with either average."
    )


def _teacher(verb: argparse.ArgumentParser) -> None:
    from pipelines.stored.stores import STORES  # ours are put first before this

    group = verb.add_argument_group("teacher")
    add = group.add_argument
    add("--teacher", metavar="PATH", help="generation 0: any Keras model of the data's")
    add("--custom-objects", metavar="MODULE", help="that defines its own layers")
    add("--force", action="store_true", help="accept one that has no card")
    add("--teacher-signal", choices=SIGNALS, default="live", help="default: live")
    add("--passes", type=positive, metavar="N", help="to store (default: one an epoch)")
    add("--store", choices=STORES, help="of passes (default: replay)")
    add("--resident", choices=("auto", "always", "never"), help="passes in memory")


def _recipe(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("recipe of all generations")
    add = group.add_argument
    add("--recipe-style", choices=STYLES, help="default: wide-resnet, the paper's")
    add("--epochs", type=positive, metavar="N", help="milestones scale (default: 200)")
    add("--schedule", choices=SCHEDULES, help="learning rate (default: steps)")
    add(
        "--learning-rate",
        type=positive_real,
        metavar="R",
        help="initial (0.1)",
    )
    add("--batch-size", type=positive, metavar="N", help="default: 128")
    add("--dropout", type=below_1, metavar="R", help="Wide-ResNets' (default: 0.3)")
    search_options.devices(add)
