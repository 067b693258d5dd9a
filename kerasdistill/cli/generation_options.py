"""The options of born-again and language-model. No heavy imports."""

import argparse
from typing import Any

from kerasdistill.cli import objective_options
from kerasdistill.cli.looking_options import brought
from kerasdistill.cli.values import below_1, devices_option, positive, positive_real
from kerasdistill.objectives import TEXTS, on_stored_logits

SIGNALS = ("live", "stored")
LANGUAGE_MODELS = ("lstm", "cnn-lstm")


def architecture(group: Any) -> None:
    """--arch and Table 4's factors."""
    add = group.add_argument
    add("--arch", metavar="NAME", help="such as wide-resnet-28-10 or densenet-90-60")
    about = "deeper and narrower DenseNets, as in Table 4"
    add("--depth-factor", type=positive_real, metavar="F", help=about)
    about = "DenseNets with other transitions, as in Table 4"
    add("--compression-factor", type=positive_real, metavar="F", help=about)


def born_again(verb: argparse.ArgumentParser) -> None:
    """Options of born-again."""
    from pipelines.stored.stores import STORES  # ours are put first before this

    group = verb.add_argument_group("generations")
    architecture(group)
    about = "born-again students, after generation 0 (default: 1)"
    group.add_argument(
        "--generations", type=positive, default=1, metavar="N", help=about
    )
    losses = [*on_stored_logits(), "hard-label"]
    objective_options.describe(group, losses, default="ban")
    verb.set_defaults(loss="ban")
    add = verb.add_argument_group("teacher").add_argument
    about = "generation 0: any Keras model for these images"
    add("--teacher", metavar="PATH", help=about)
    about = "a module that defines the teacher's own layers"
    add("--custom-objects", metavar="MODULE", help=about)
    about = "accept a teacher whose answers look suspicious"
    add("--force", action="store_true", help=about)
    about = "ask the teacher in every step, or store what it says (default: live)"
    add("--teacher-signal", choices=SIGNALS, default="live", help=about)
    about = "passes to store (default: one an epoch)"
    add("--passes", type=positive, metavar="N", help=about)
    about = "keep images, or what re-makes them (default: replay)"
    add("--store", choices=STORES, help=about)
    about = "hold passes in memory (default: auto)"
    add("--resident", choices=("auto", "always", "never"), help=about)
    add = verb.add_argument_group("training of all generations").add_argument
    styles, schedules = ("wide-resnet", "densenet"), ("steps", "cosine")
    about = "whose recipe (default: wide-resnet, as in the paper)"
    add("--recipe-style", choices=styles, help=about)
    about = "epochs; milestones are shares of them (default: 200)"
    add("--epochs", type=positive, metavar="N", help=about)
    about = "of the learning rate (default: steps)"
    add("--schedule", choices=schedules, help=about)
    about = "initial rate (default: 0.1)"
    add("--learning-rate", type=positive_real, metavar="R", help=about)
    add("--batch-size", type=positive, metavar="N", help="images a step (default: 128)")
    about = "rate in Wide-ResNets (default: 0.3)"
    add("--dropout", type=below_1, metavar="R", help=about)
    devices_option(add)
    brought(verb)
    verb.epilog = (
        "Ens*k, the ensemble of the first k students, is the logarithm of the mean of "
        "their softmax; the verb ensemble makes others, with either average."
    )


def language_model(verb: argparse.ArgumentParser) -> None:
    """Options of language-model."""
    verb.description = (
        "train a language model, or students of one; --data-dir is a folder with "
        "train.txt, valid.txt and test.txt (or ptb.train.txt and so on), a sentence a "
        "line"
    )
    add = verb.add_argument_group("the network").add_argument
    about = "kind of network (default: lstm, or the teacher's)"
    add("--arch", choices=LANGUAGE_MODELS, help=about)
    add("--size", choices=("paper", "small"), help="of the network (default: paper)")
    add("--layers", type=positive, metavar="N", help="of LSTM (default: 2)")
    add("--dropout", type=below_1, metavar="P", help="rate (default: by --size)")
    add = verb.add_argument_group("training").add_argument
    about = "words that gradients go back (default: 35)"
    add("--window", type=positive, metavar="T", help=about)
    add("--epochs", type=positive, metavar="N", help="most epochs (default: 40)")
    about = "streams of text (default: 32, or 20 with cnn-lstm)"
    add("--batch-size", type=positive, metavar="N", help=about)
    about = "initial rate (default: 1, or 2 with cnn-lstm)"
    add("--learning-rate", type=positive_real, metavar="R", help=about)
    about = "longest gradient (default: 5)"
    add("--clip-norm", type=positive_real, metavar="C", help=about)
    group = verb.add_argument_group("born again")
    add = group.add_argument
    add(
        "--born-again", action="store_true", help="train students of a teacher, in turn"
    )
    add("--generations", type=positive, metavar="N", help="students (default: 1)")
    add("--teacher", nargs="+", metavar="PATH", help="models, instead of training one")
    losses = [name for name in TEXTS if name != "hard-label"]
    objective_options.describe(group, losses, default="ban+l", without=("temperature",))
    about = "ask the teacher in every step, or store what it says (default: live)"
    add("--teacher-signal", choices=SIGNALS, help=about)
    about = "words kept a step of a stored signal (default: 64)"
    add("--store-top-k", type=positive, metavar="K", help=about)
    add("--distillation-set", metavar="PATH", help="a finished stored signal")
    add = verb.add_argument_group("after the training").add_argument
    add("--sample", metavar="TEXT", help="go on from TEXT with the finished model")
    add("--words", type=positive, metavar="N", help="to go on for (default: 40)")
