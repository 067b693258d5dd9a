"""The command line's grammar: text in, plain values out. No heavy imports."""

import argparse
import difflib
from collections.abc import Sequence

from kerasdistill import __version__, terminal
from kerasdistill.cli import belonging, examples
from kerasdistill.cli import distilling_options as distil
from kerasdistill.cli import generation_options as generations
from kerasdistill.cli import looking_options as look
from kerasdistill.cli.values import natural, plan_option, positive, tracker_option
from kerasdistill.errors import UserError

# The verbs that can take long: all of them have --plan.
PLANNED = ("student", "teacher", "ensemble", "precompute", "verify", "baseline")
PLANNED += ("born-again", "language-model", "reproduce")
# Those that make runs, which a tracker may follow.
TRACKED = tuple(verb for verb in PLANNED if verb != "verify")
# The groups of options that every verb has.
DATA, COMMON = "data, as in every verb", "the run, as in every verb"
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


class _Help(argparse.HelpFormatter):
    """As argparse's, but an example keeps its lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        words, head, example = text.partition("example:")
        gap = "\n\n" if words and head else ""
        return super()._fill_text(words, width, indent) + gap + head + example


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: object = None) -> None:
        if message and not terminal.answer(message.removesuffix("\n")):
            self.exit(1)

    def error(self, message: str) -> None:
        raise UserError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line.

    Options that `precompute` does not know are kept in `beam_arguments` for Beam, and
    everything after "--" in `beam_unchecked`.

    Raises:
        UserError: anything argparse would print its usage for, and an option that the
            others leave without effect.
    """
    words = list(argv)
    cut = words.index("--") if "--" in words else len(words)
    parser, after = build_parser(), words[cut + 1 :]
    args, unknown = parser.parse_known_args(words[:cut])
    belonging.settle(args)
    options = _options(parser, args.verb)
    if args.verb == "precompute":
        args.beam_arguments, args.beam_unchecked = unknown, after
        args.own_options = options
    elif unknown or after:
        stranger = (unknown + after)[0]
        near = difflib.get_close_matches(stranger.split("=")[0], options, n=1)
        hint = f"did you mean {near[0]}?" if near else f"see {args.verb} --help"
        raise UserError(f"{args.verb} does not know {stranger!r}; {hint}")
    return args


def data_options(args: argparse.Namespace) -> list[str]:
    """The options that choose the same data set and split again."""
    is_text = args.verb == "language-model"
    options = [] if is_text else ["--dataset", args.dataset]
    if args.data_dir is not None:
        options += ["--data-dir", args.data_dir]
    if args.image_size is not None:
        options += ["--image-size", str(args.image_size)]
    options += ["--grey"] * args.grey
    if args.split_seed:
        options += ["--split-seed", str(args.split_seed)]
    options += ["--strict"] * args.strict
    options += ["--drop-duplicates"] * args.drop_duplicates
    return options + ["--quick"] * args.quick


def image_shape(
    args: argparse.Namespace, default: tuple[int, int, int] = (32, 32, 3)
) -> tuple[int, int, int]:
    """Height, width and channels that images are brought to; what the command line
    does not say is that of `default`."""
    height, width = (args.image_size,) * 2 if args.image_size else default[:2]
    return (height, width, 1 if args.grey else default[2])


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = _Parser(
        prog="kerasdistill",
        description="Smaller or better Keras networks, distilled from trusted ones.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (describe, text) in VERBS.items():
        how = {"formatter_class": _Help, "allow_abbrev": False}
        verb = verbs.add_parser(name, help=text, description=text, **how)
        describe(verb)
        example = f"example:\n  {examples.EXAMPLES[name]}"
        verb.epilog = f"{verb.epilog}\n\n{example}" if verb.epilog else example
        if name in PLANNED:
            plan_option(verb)
        if name in TRACKED:
            tracker_option(verb)
        _common(verb)
    return parser


def _common(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group(DATA).add_argument
    about = "a TFDS name, digits, folder:PATH or unlabelled:PATH (default: cifar10)"
    add("--dataset", metavar="NAME", help=about)
    about = "where TFDS keeps its data, or a text's folder (default: TFDS_DATA_DIR)"
    add("--data-dir", metavar="PATH", help=about)
    about = "side that images are brought to (default: the model's, else 32)"
    add("--image-size", type=positive, metavar="N", help=about)
    add("--grey", action="store_true", help="bring images to one channel")
    add("--strict", action="store_true", help="refuse files that cannot be read")
    about = "remove training images that have two labels or are in test or validation"
    add("--drop-duplicates", action="store_true", help=about)
    about = "which images are for validation (default: 0)"
    add("--split-seed", type=natural, metavar="N", help=about)
    add = verb.add_argument_group(COMMON).add_argument
    about = "where runs are kept (default: runs)"
    add("--workdir", default="runs", metavar="PATH", help=about)
    about = "of every random choice but the split (default: 0)"
    add("--seed", type=natural, default=0, metavar="N", help=about)
    about = "few images and a short recipe: minutes, to try things out"
    add("--quick", action="store_true", help=about)
    about = "one JSON object on stdout, all else on stderr"
    add("--json", action="store_true", help=about)
    about = "plain text, as with NO_COLOR set"
    add("--no-color", action="store_true", help=about)
    about = "Keras' dtype policy (default: auto, by the hardware)"
    add("--precision", choices=PRECISIONS, default="auto", help=about)
    about = "TensorFlow's kernels that give the same bits each time"
    add("--deterministic", action="store_true", help=about)


VERBS = {
    "student": (distil.student, "distil a student of an exact size, and what it needs"),
    "teacher": (distil.teacher, "train a teacher on labels"),
    "ensemble": (distil.ensemble, "join teachers into one, by validation accuracy"),
    "precompute": (distil.precompute, "label augmented passes with teachers, by Beam"),
    "verify": (distil.verify, "check a distillation set, and ask its teachers again"),
    "baseline": (distil.baseline, "train a student's network on labels, to compare"),
    "born-again": (generations.born_again, "train generation after generation"),
    "language-model": (generations.language_model, "train one, or students of one"),
    "evaluate": (look.evaluate, "score a model on a data set"),
    "export": (look.export, "write a model as SavedModel, LiteRT, ONNX, ..."),
    "inspect": (look.inspect, "look into a set, or at a model's mistakes"),
    "report": (look.report, "your runs, and the papers' tables that they fill"),
    "runs": (look.runs, "list the runs of a workdir, or remove some"),
    "doctor": (look.doctor, "versions, devices, space and data, with advice"),
    "reproduce": (distil.reproduce, "run what a table of the papers needs, at a scale"),
    "completion": (look.completion, "print a script that completes options in a shell"),
    "summary": (distil.summary, "list layers and parameters, without training"),
}


def _options(parser: argparse.ArgumentParser, verb: str) -> list[str]:
    (verbs,) = [a.choices for a in parser._actions if isinstance(a.choices, dict)]
    return [option for a in verbs[verb]._actions for option in a.option_strings]
