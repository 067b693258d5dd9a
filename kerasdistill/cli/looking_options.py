"""Options of the verbs that look at work and train nothing. No heavy imports."""

import argparse

from kerasdistill.cli.values import positive

SPLITS = ("train", "validation", "test")
SHELLS = ("bash", "zsh", "fish")
FORMATS = ("terminal", "markdown", "csv", "latex")


def inspect(verb: argparse.ArgumentParser) -> None:
    """A set's or a model's."""
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set, a model, or a run with one")
    add("--sample", type=positive, metavar="N", help="views of a set (default: 4096)")
    add("--split", choices=SPLITS, help="images for a model (default: validation)")
    add("--teacher", nargs="+", metavar="PATH", help="to compare a model with")
    add("--output", metavar="FOLDER", help="(default: inspect-NAME in --workdir)")


def report(verb: argparse.ArgumentParser) -> None:
    """The papers' tables, or one search's."""
    add = verb.add_argument
    add(
        "path",
        nargs="*",
        metavar="[search|born-again] PATH",
        help="folders of runs or results.json files (default: --workdir); after "
        "the word search or born-again, folders of those to compare",
    )
    add("--html", metavar="FILE", help="one page with the figure, besides")
    add("--format", choices=FORMATS, help="of what is printed (default: terminal)")
    add("--png", metavar="FILE", help="their picture (default: PATH/report.png)")


def runs(verb: argparse.ArgumentParser) -> None:
    """What lies in the workdir."""
    add = verb.add_argument
    add("what", choices=("list", "clean"), help="show runs, or remove some")
    add("--run", nargs="+", metavar="NAME", help="clean these, as list names them")
    add("--unfinished", action="store_true", help="clean all that have no results")
    add("--dry-run", action="store_true", help="only say what would be removed")


def doctor(verb: argparse.ArgumentParser) -> None:
    """The installation."""
    verb.add_argument("--start", action="store_true", help="start TensorFlow too")


def completion(verb: argparse.ArgumentParser) -> None:
    """A shell's."""
    verb.add_argument("shell", choices=SHELLS, help="whose script is printed")
