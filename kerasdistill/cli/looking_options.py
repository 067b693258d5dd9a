"""Options of the verbs that look at work and train nothing. No heavy imports.

A verb's function is called as the verb and adds its options.
"""

import argparse

from kerasdistill.cli.values import positive

SPLITS = ("train", "validation", "test")
OUTPUTS = ("logits", "probabilities", "sigmoid")
INPUTS = ("0-255", "0-1", "minus1-1")
SHELLS = ("bash", "zsh", "fish")
REPORT_FORMATS = ("terminal", "markdown", "csv", "latex")
EXPORT_FORMATS = ("saved-model", "keras", "litert", "litert-int8", "onnx")


def brought(verb: argparse.ArgumentParser) -> None:
    """How models are read that were made elsewhere."""
    about = "Models are .keras and .h5 files, SavedModel folders and keras:NAME[@SIDE] "
    about += "of Keras Applications. What images need before them becomes layers "
    about += "around them."
    add = verb.add_argument_group("models made elsewhere", about).add_argument
    about = "weights of each keras:NAME, in order"
    add("--weights", nargs="+", metavar="FILE", default=(), help=about)
    about = "what they give (default: logits; sigmoid: one for each class)"
    add("--teacher-output", choices=OUTPUTS, help=about)
    add("--teacher-input", choices=INPUTS, help="pixels they know (default: 0-255)")
    about = "which output, of models with several"
    add("--teacher-head", metavar="NAME", help=about)
    about = "load SavedModels, which may run any code"
    add("--trust-saved-model", action="store_true", help=about)


def evaluate(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("path", metavar="PATH", help="a model")
    about = "whose images (default: test)"
    verb.add_argument("--split", choices=SPLITS, default="test", help=about)
    brought(verb)


def export(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("path", metavar="PATH", help="a model")
    add("--name", help="folder in saved_models (default: the run's)")
    about = "copy it there, too: hf://USER/NAME or gs://BUCKET/PATH"
    add("--to", metavar="ADDRESS", help=about)
    which = verb.add_mutually_exclusive_group()
    about = f"{', '.join(EXPORT_FORMATS)} (default: saved-model)"
    named = {"choices": EXPORT_FORMATS, "type": lambda text: text.replace("_", "-")}
    default = ["saved-model"]
    which.add_argument("--format", nargs="+", **named, default=default, help=about)
    which.add_argument("--all", action="store_true", help="every format")
    add("--fold-bottleneck", action="store_true", help="merge it into the next layer")
    about = "try the exports on its views (default: images of the card's data set, "
    about += "else of --dataset)"
    add("--distillation-set", metavar="PATH", help=about)
    brought(verb)


def inspect(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set, a model, or a run with one")
    add("--sample", type=positive, metavar="N", help="views of a set (default: 4096)")
    add("--split", choices=SPLITS, help="images for a model (default: validation)")
    add("--teacher", nargs="+", metavar="PATH", help="to compare a model with")
    brought(verb)
    add("--output", metavar="FOLDER", help="(default: inspect-NAME in --workdir)")


def report(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    about = "folders of runs or results.json files (default: --workdir); after "
    about += "the word search or born-again, folders of those to compare"
    add("path", nargs="*", metavar="[search|born-again] PATH", help=about)
    add("--html", metavar="FILE", help="one page with the figure, besides")
    add("--format", choices=REPORT_FORMATS, help="printed (default: terminal)")
    about = (
        "the picture (default: report.png in --workdir, or in PATH after those words)"
    )
    add("--png", metavar="FILE", help=about)
    add("--papers", action="store_true", help="the papers' tables, empty ones too")


def runs(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("what", choices=("list", "clean"), help="show runs, or remove some")
    add("--run", nargs="+", metavar="NAME", help="clean these, as list names them")
    add("--unfinished", action="store_true", help="clean all that have no results")
    about = "clean sets that no run was trained on, checkpoints of finished runs, and "
    about += "what is left of removed ones"
    add("--unreferenced", action="store_true", help=about)
    about = "only say what would be removed"
    add("--dry-run", "--plan", action="store_true", help=about)


def doctor(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--start", action="store_true", help="start TensorFlow too")


def completion(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("shell", choices=SHELLS, help="whose script is printed")
