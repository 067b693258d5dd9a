"""The options of born-again and language-model. No heavy imports."""

import argparse

from kerasdistill.cli import objective_options
from kerasdistill.cli.looking_options import brought
from kerasdistill.cli.values import below_1, devices_option, positive, positive_real
from kerasdistill.objectives import TEXTS, on_stored_logits

SIGNALS = ("live", "stored")
LANGUAGE_MODELS = ("lstm", "cnn-lstm")


def architecture(verb: argparse.ArgumentParser) -> None:
    """--arch and Table 4's factors."""
    add = verb.add_argument
    add("--arch", metavar="NAME", help="such as wide-resnet-28-10 or densenet-90-60")
    add("--depth-factor", type=positive_real, metavar="F", help="Table 4's, DenseNets")
    add("--compression-factor", type=positive_real, metavar="F", help="Table 4's too")


def born_again(verb: argparse.ArgumentParser) -> None:
    """Options of born-again."""
    from pipelines.stored.stores import STORES  # ours are put first before this

    architecture(verb)
    add = verb.add_argument
    about = "born-again students, after generation 0 (default: 1)"
    add("--generations", type=positive, default=1, metavar="N", help=about)
    losses = [*on_stored_logits(), "hard-label"]
    objective_options.describe(verb, losses, default="ban")
    verb.set_defaults(loss="ban")
    add = verb.add_argument_group("teacher").add_argument
    add("--teacher", metavar="PATH", help="generation 0: any Keras model of the data's")
    add("--custom-objects", metavar="MODULE", help="that defines its own layers")
    about = "accept one whose answers look suspicious"
    add("--force", action="store_true", help=about)
    add("--teacher-signal", choices=SIGNALS, default="live", help="default: live")
    add("--passes", type=positive, metavar="N", help="to store (default: one an epoch)")
    add("--store", choices=STORES, help="of passes (default: replay)")
    add("--resident", choices=("auto", "always", "never"), help="passes in memory")
    add = verb.add_argument_group("recipe of all generations").add_argument
    styles, schedules = ("wide-resnet", "densenet"), ("steps", "cosine")
    add("--recipe-style", choices=styles, help="default: wide-resnet, the paper's")
    add("--epochs", type=positive, metavar="N", help="milestones scale (default: 200)")
    add("--schedule", choices=schedules, help="learning rate (default: steps)")
    add("--learning-rate", type=positive_real, metavar="R", help="initial (0.1)")
    add("--batch-size", type=positive, metavar="N", help="default: 128")
    add("--dropout", type=below_1, metavar="R", help="Wide-ResNets' (default: 0.3)")
    devices_option(add)
    brought(verb)
    verb.epilog = (
        "Ens*k, the ensemble of the first k students, is the logarithm of the mean of "
        "their softmax; the verb ensemble makes others, with either average."
    )


def language_model(verb: argparse.ArgumentParser) -> None:
    """Options of language-model."""
    add = verb.add_argument
    verb.description += (
        "; --data-dir is a folder with train.txt, valid.txt and test.txt (or "
        "ptb.train.txt and so on), a sentence a line"
    )
    add("--arch", choices=LANGUAGE_MODELS, help="default: lstm, or the teacher's")
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
    objective_options.describe(verb, losses, default="ban+l", without=("temperature",))
    add("--teacher-signal", choices=SIGNALS, help="default: live")
    add("--store-top-k", type=positive, metavar="K", help="words kept a step (64)")
    add("--distillation-set", metavar="PATH", help="a finished stored signal")
    add("--sample", metavar="TEXT", help="go on from TEXT with the finished model")
    add("--words", type=positive, metavar="N", help="to go on for (default: 40)")
