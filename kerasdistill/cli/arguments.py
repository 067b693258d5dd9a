"""The command line's grammar: text in, plain values out. No heavy imports."""

import argparse
import difflib
from collections.abc import Sequence

from kerasdistill import __version__
from kerasdistill.cli import language_options, search_options
from kerasdistill.errors import UserError

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
SCHEDULES = ("paper", "cosine", "linear")
SOFT_LOSSES = ("logit-regression", "kd")
STORES = ("images", "replay")
LOGITS_DTYPES = ("float32", "float16")
AVERAGINGS = ("mean-logits", "mean-probabilities")
SELECTIONS = ("all", "top", "greedy")
RESIDENT = ("auto", "always", "never")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message}; see {self.prog} --help")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line.

    Options that `precompute` does not know are kept in `beam_options` for Beam;
    everything after "--" is kept there unseen.

    Raises:
        UserError: anything argparse would print its usage for.
    """
    before, after = list(argv), []
    if "--" in before:
        cut = before.index("--")
        before, after = before[:cut], before[cut + 1 :]
    parser = build_parser()
    arguments, unknown = parser.parse_known_args(before)
    if arguments.verb == "precompute":
        arguments.beam_arguments, arguments.beam_unchecked = unknown, after
        arguments.own_options = _options(parser, "precompute")
        return arguments
    if unknown or after:
        stranger = (unknown + after)[0]
        options = _options(parser, arguments.verb)
        near = difflib.get_close_matches(stranger.split("=")[0], options, n=1)
        hint = f"did you mean {near[0]}?" if near else f"see {arguments.verb} --help"
        raise UserError(f"{arguments.verb} does not know {stranger!r}; {hint}")
    return arguments


def data_options(asked: argparse.Namespace) -> list[str]:
    """The options that choose the same data set and split again."""
    is_text = asked.verb == "language-model"
    options = [] if is_text else ["--dataset", asked.dataset]
    if asked.data_dir is not None:
        options += ["--data-dir", asked.data_dir]
    if asked.split_seed:
        options += ["--split-seed", str(asked.split_seed)]
    return options + ["--quick"] * asked.quick


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
        verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        describe(verb)
        _common(verb)
    return parser


def _common(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("common to all verbs")
    add = group.add_argument
    add("--workdir", default="runs", help="where runs are kept (default: runs)")
    add("--data-dir", help="where TFDS keeps its data (default: TFDS_DATA_DIR)")
    add("--dataset", default="cifar10", help="TFDS name, digits or folder:PATH")
    add("--seed", type=_natural, default=0, help="every random choice but the split")
    add("--split-seed", type=_natural, default=0, help="the validation split")
    add("--quick", action="store_true", help="a shrunken recipe: minutes")
    add("--json", action="store_true", help="one JSON object on stdout")
    add("--precision", choices=PRECISIONS, default="auto", help="default: auto")


def _teacher_widths(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--published", type=int, choices=(1, 2, 3), help="the paper's (default: 1)")
    add("--filters", type=_widths, metavar="A,B,C", help="filters of the three blocks")
    add("--dense", type=_positive, metavar="H", help="width of both dense layers")
    add("--fast", action="store_true", help="not the paper's: good within minutes")


def _student_widths(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--budget", metavar="B", help="trainable parameters, such as 10M or 250000")
    shape = verb.add_mutually_exclusive_group()
    shape.add_argument("--convs", type=int, metavar="K", help="convolutions, 1 to 4")
    shape.add_argument("--hidden", type=int, metavar="L", help="an MLP's layers, 1-5")
    add("--kernel", type=int, choices=(3, 5), default=5, help="filter side")


def _architecture(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--arch", metavar="NAME", help="such as wide-resnet-28-10 or densenet-90-60")
    add("--depth-factor", type=_positive_real, metavar="F", help="Table 4's, DenseNets")
    add("--compression-factor", type=_positive_real, metavar="F", help="Table 4's too")


def _training(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--epochs", type=_positive, metavar="N", help="most epochs (default: no limit)")
    add("--schedule", choices=SCHEDULES, help="learning rate (default: paper)")
    add("--learning-rate", type=_positive_real, metavar="R", help="initial rate")
    add("--momentum", type=_fraction, metavar="M", help="Nesterov momentum")
    add("--batch-size", type=_positive, metavar="N", help="default: 128")


def _summary(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("what", nargs="?", choices=("teacher", "student"), help="which family")
    _teacher_widths(verb)
    _student_widths(verb)
    _architecture(verb)
    verb.add_argument("--classes", type=_positive, default=10, help="logits")
    language_options.for_summary(verb, count=_positive)


def _teacher(verb: argparse.ArgumentParser) -> None:
    _teacher_widths(verb)
    _training(verb)
    search_options.describe(verb, count=_positive)
    search_options.tie_dropout(verb)


def _ensemble(verb: argparse.ArgumentParser) -> None:
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
        "--size", type=_positive, metavar="N", help="most members (default: 16)"
    )
    _force(verb)


def _store(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--store", choices=STORES, help="what is kept (default: images)")


def _force(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--force", action="store_true", help="accept a card-less, disagreeing teacher"
    )


def _precompute(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--teacher", nargs="+", required=True, metavar="PATH")
    add("--passes", type=int, help="sweeps (default: 160)")
    add("--workers", type=_positive, help="processes (default: cores)")
    _store(verb)
    add(
        "--keep-members",
        action="store_true",
        help="keep every teacher's logits beside the mean, to choose from later",
    )
    add("--logits-dtype", choices=LOGITS_DTYPES, help="default: float32")
    where = verb.add_mutually_exclusive_group()
    where.add_argument(
        "--extend", metavar="PATH", help="give a finished set more passes or members"
    )
    where.add_argument(
        "--output", metavar="PATH", help="a path or URL such as gs://bucket/set"
    )
    _force(verb)
    verb.epilog = "Options that Beam knows go to Beam; after -- everything does."


def _student(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    _student_widths(verb)
    add("--recipe", metavar="FILE", help="a run's recipe.json instead of widths")
    _training(verb)
    signal = verb.add_mutually_exclusive_group()
    signal.add_argument("--distillation-set", metavar="PATH", help="a finished set")
    signal.add_argument("--teacher", nargs="+", metavar="PATH", help="teachers to ask")
    signal.add_argument("--teachers", type=int, metavar="N", help="to train, 1 to 3")
    signal.add_argument("--fast", action="store_true", help="train one fast teacher")
    add("--members", type=_widths, metavar="I,J", help="of the set, from 1 (all)")
    add("--averaging", choices=AVERAGINGS, help="of members (default: mean-logits)")
    add("--passes", type=int, help="sweeps to label (default: 160)")
    _store(verb)
    _force(verb)
    add("--resident", choices=RESIDENT, default="auto", help="hold passes in memory")
    add("--loss", choices=SOFT_LOSSES, help="default: logit-regression")
    add("--temperature", type=_positive_real, help="of kd (default: 1)")
    add("--alpha", type=_fraction, help="weight of kd's soft term (default: 1)")
    search_options.describe(verb, count=_positive)


def _verify(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("path", metavar="PATH", help="a distillation set")
    add("--sample", type=_positive, default=1024, metavar="N", help="views (1024)")
    add("--teacher", nargs="+", metavar="PATH", help="if not where they were")


def _baseline(verb: argparse.ArgumentParser) -> None:
    _student_widths(verb)
    verb.add_argument("--recipe", metavar="FILE", help="a baseline's recipe.json")
    _training(verb)
    search_options.describe(verb, count=_positive)


def _language_model(verb: argparse.ArgumentParser) -> None:
    language_options.describe(verb, _positive, _positive_real, _share)


def _evaluate(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("path", metavar="PATH", help="a .keras file or a SavedModel")
    verb.add_argument(
        "--split", choices=("train", "validation", "test"), default="test"
    )


def _export(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("path", metavar="PATH", help="a .keras file")
    verb.add_argument("--name", help="folder in saved_models (default: the run's)")
    verb.add_argument("--format", choices=("saved_model",), default="saved_model")


def _report(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("what", choices=("search",), help="search: what the trials of one found")
    add("path", nargs="+", metavar="PATH", help="folders of searches, to compare")
    add("--png", metavar="FILE", help="the picture (default: PATH/report.png)")


VERBS = {
    "student": (_student, "distil a student of an exact size, from nothing if need be"),
    "teacher": (_teacher, "train a teacher on hard labels"),
    "ensemble": (_ensemble, "join teachers into a super teacher"),
    "precompute": (_precompute, "label augmented passes with teachers, by Beam"),
    "verify": (_verify, "score a sample of a distillation set again and compare"),
    "baseline": (_baseline, "train a student's architecture on hard labels"),
    "language-model": (_language_model, "train a language model, or its students"),
    "evaluate": (_evaluate, "score a model on a data set"),
    "export": (_export, "write a student alone as a SavedModel"),
    "report": (_report, "tables and a picture of finished or running work"),
    "summary": (_summary, "layers and parameters, without training"),
}


def _options(parser: argparse.ArgumentParser, verb: str) -> list[str]:
    actions = [a for a in parser._actions if isinstance(a.choices, dict)]
    return [
        option
        for action in actions[0].choices[verb]._actions
        for option in action.option_strings
    ]


def _number(kind, accept, expected: str):
    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


_natural = _number(int, lambda n: 0 <= n < 2**31, "a whole number from 0 to 2^31-1")
_positive = _number(int, lambda n: n > 0, "a whole number above 0")
_positive_real = _number(float, lambda x: 0 < x < float("inf"), "a number above 0")
_share = _number(float, lambda x: 0 <= x < 1, "a number from 0 to below 1")
_fraction = _number(float, lambda x: 0 <= x <= 1, "a number from 0 to 1")


def _widths(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))
