"""A table as a list of command lines, each of them a run of its own.

So a repetition goes on where it was, and anyone can run the lines one by one. At scale
S a training has round(160 S) epochs under the cosine schedule, and a set as many
passes, at least 1 each; at S = 1 the paper's own schedule ends a training, and there
are 160 passes. Students learn from the three published teachers, trained at the same
scale; the paper's ensemble of 16 comes from a search over teachers of round(129 S)
trials, at least 16. The paper doesn't say how many trials a student's search had: the
figure's 20 are ours.

Of the second paper: Tables 1 to 6 (the last one's text lies in --data-dir). At scale S
their trainings have round(200 S), and those on text round(40 S) epochs. A student of
another network's names the command that trains its teacher.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from kerasdistill.budget import Budget
from kerasdistill.cli.arguments import data_options
from kerasdistill.cli.interpret import PAPER_PASSES
from kerasdistill.recipes import urban2017
from kerasdistill.reports import paper

TEACHER_TRIALS, ENSEMBLE, FIGURE_TRIALS = 129, 16, 20
TEACHERS = range(1, len(urban2017.PUBLISHED_TEACHERS) + 1)
# Of the second paper's trainings (docs/papers/born-again.md).
ALL_EPOCHS = {**{f"ban-table-{n}": 200 for n in range(1, 6)}, "ban-table-6": 40}
DEFAULT_DATASET = "cifar10"
_TEACHERS = "teachers"  # what their search is called; their widths have no budget
# Table 3's other students, and the teacher of Tables 4 and 5.
_DENSE = ("--arch", "densenet-90-60")
Line = list[str]


def length(scale: float, whole: int | None = None) -> int:
    """Epochs, and passes, at a scale of all (None: the first paper's passes)."""
    return max(1, round((whole or PAPER_PASSES) * scale))


def common(args: argparse.Namespace) -> Line:
    """What every line takes over from the command line."""
    words = ["--workdir", args.workdir, *data_options(args)]
    return [*words, "--seed", str(args.seed), "--precision", args.precision]


def _trained(args: argparse.Namespace) -> Line:
    """How long a training is, and all that is common."""
    words = ["--epochs", str(length(args.scale)), "--schedule", "cosine"]
    return [*words * (args.scale < 1), *common(args)]


def _searched(args: argparse.Namespace, key: str, trials: int | None) -> Line:
    if trials is None:
        return []
    folder = Path(args.workdir, f"reproduce-{key}-{args.scale:g}-{args.seed}")
    rounded = folder.with_name(f"{folder.name}-rounded")
    # A search by the older rule of widths goes on in the folder it has.
    own = rounded.exists() or not folder.exists()
    if own and key != _TEACHERS and not args.exact_widths:
        folder = rounded
    return ["--trials", str(trials), "--search", str(folder)]


def _fits(args: argparse.Namespace, budget: str) -> bool:
    most, count = args.max_budget, Budget.parse(budget).num_params
    return most is None or count <= Budget.parse(most).num_params


def _family(args: argparse.Namespace, key: str) -> Line:
    what, count = key.split("-")
    return [f"--{what}", count, *["--exact-widths"] * args.exact_widths]


def _baselines(args: argparse.Namespace, trials: int | None) -> list[Line]:
    families = [key for key in paper.FAMILIES if key.startswith("convs")]
    return [
        ["baseline", "--budget", "10M", *_family(args, key)]
        + [*_searched(args, f"baseline-{key}", trials), *_trained(args)]
        for key in families * _fits(args, "10M")
    ]


def _students(args: argparse.Namespace, trials: int | None, *beyond: str) -> list[Line]:
    return [
        ["student", "--budget", budget, *_family(args, key)]
        + [*_searched(args, f"student-{budget}-{key}", trials), *_signal(args)]
        for budget in (*paper.BUDGETS, *beyond)
        for key in paper.FAMILIES
        if _fits(args, budget)
    ]


def _signal(args: argparse.Namespace) -> Line:
    words = ["--passes", str(length(args.scale)), *_trained(args)]
    if args.store is not None:
        words += ["--store", args.store]
    # Last, as it takes any number of words.
    teachers = ["--teachers", str(len(TEACHERS))]
    return words + (["--teacher", *args.teacher] if args.teacher else teachers)


def urban_table_1(args: argparse.Namespace) -> list[Line]:
    """Baselines, the published teachers, and an ensemble of 16 found by a search."""
    trials = max(ENSEMBLE, round(TEACHER_TRIALS * args.scale))
    search = _searched(args, _TEACHERS, trials)
    return [
        *_baselines(args, args.trials),
        *(["teacher", "--published", str(n), *_trained(args)] for n in TEACHERS),
        ["teacher", *search, *_trained(args)],
        ["ensemble", "--from-search", search[-1], "--select", "top"]
        + ["--size", str(ENSEMBLE), *common(args)],
    ]


def urban_table_2(args: argparse.Namespace) -> list[Line]:
    """Students of every family and budget, and Ba & Caruana's shallow one."""
    shallow = ["student", "--preset", "snn-ecnn-mimic-30k", *_signal(args)]
    return [*_students(args, args.trials), *[shallow] * _fits(args, "70900938")]


def urban_figure_1(args: argparse.Namespace) -> list[Line]:
    """A search for every family and budget, and the baselines' at 10M.

    Figure 2's students of 100M are there if --max-budget names as many.
    """
    trials = args.trials or FIGURE_TRIALS
    beyond = ["100M"] if args.max_budget is not None else []
    return [*_students(args, trials, *beyond), *_baselines(args, trials)]


def _epochs(args: argparse.Namespace) -> Line:
    whole = length(args.scale, ALL_EPOCHS[args.table])
    return ["--epochs", str(whole)] if args.scale < 1 else []


def _generations(args: argparse.Namespace, *words: str) -> Line:
    dataset = args.dataset
    if dataset == DEFAULT_DATASET and args.table != "ban-table-1":
        dataset = "cifar100"
    words = ("born-again", *words, *_epochs(args), *common(args))
    return [*words, "--dataset", dataset]  # last, so that this data set counts


def teacher_by(number: int) -> str:
    """The word that stands for generation 0 of command `number`, counted from 1."""
    return f"<generation 0 of command {number}>"


def _taught(args: argparse.Namespace, number: int, *words: str) -> Line:
    return _generations(args, *words, "--teacher", teacher_by(number))


def ban_table_1(args: argparse.Namespace) -> list[Line]:
    """A teacher and its student of every network, on CIFAR-10."""
    return [_generations(args, "--arch", row.key) for row in paper.BAN_1.rows]


def ban_table_2(args: argparse.Namespace) -> list[Line]:
    """Three generations of every DenseNet, and one of each other loss, CIFAR-100."""
    losses = [("ban", "--generations", "3"), ("ban+l",), ("cwtm",), ("dkpp",)]
    return [
        _generations(args, "--arch", row.key, "--loss", *loss)
        for row in paper.BAN_2.rows
        for loss in losses
    ]


def ban_table_3(args: argparse.Namespace) -> list[Line]:
    """Wide-ResNets, and students of their kind and DenseNets, on CIFAR-100."""
    wide = [_generations(args, "--arch", row.key) for row in paper.BAN_3.rows]
    taught = [_taught(args, number, *_DENSE) for number, _ in enumerate(wide, start=1)]
    return wide + taught


def ban_table_4(args: argparse.Namespace) -> list[Line]:
    """DenseNets of other depths and compressions, taught by a DenseNet-90-60."""
    lines = [_generations(args, *_DENSE)]
    for row in paper.BAN_4.rows[1:]:
        what, factor = row.key.split("-")
        lines.append(_taught(args, 1, *_DENSE, f"--{what}-factor", factor))
    return lines


def ban_table_5(args: argparse.Namespace) -> list[Line]:
    """Residual networks with layers of a DenseNet-90-60, on its logits and on labels.

    The table's first row is quoted there.
    """
    return [_generations(args, *_DENSE)] + [
        _taught(args, 1, "--arch", row.key, "--loss", loss)
        for row in paper.BAN_5.rows[1:]
        for loss in ("ban", "hard-label")
    ]


def ban_table_6(args: argparse.Namespace) -> list[Line]:
    """Both language models and a student of each."""
    words = ["--workdir", args.workdir, "--seed", str(args.seed)]
    if args.data_dir is not None:
        words += ["--data-dir", args.data_dir]
    words += [*_epochs(args), "--precision", args.precision, *["--quick"] * args.quick]
    return [
        ["language-model", "--arch", row.key, "--born-again", *words]
        for row in paper.BAN_6.rows
    ]


# A table's name -> its command lines.
TABLES: dict[str, Callable[[argparse.Namespace], list[Line]]] = {
    "urban-table-1": urban_table_1,
    "urban-table-2": urban_table_2,
    "urban-figure-1": urban_figure_1,
    "ban-table-1": ban_table_1,
    "ban-table-2": ban_table_2,
    "ban-table-3": ban_table_3,
    "ban-table-4": ban_table_4,
    "ban-table-5": ban_table_5,
    "ban-table-6": ban_table_6,
}
