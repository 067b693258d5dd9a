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
from kerasdistill.cli import interpret
from kerasdistill.cli.arguments import data_options
from kerasdistill.errors import UserError
from kerasdistill.recipes import urban2017
from kerasdistill.reports import paper

TEACHER_TRIALS, ENSEMBLE, FIGURE_TRIALS = 129, 16, 20
# Of the second paper's trainings (fact sheet B3 and B8).
ALL_EPOCHS = {**{f"ban-table-{n}": 200 for n in range(1, 6)}, "ban-table-6": 40}
DEFAULT_DATASET = "cifar10"
_FIGURE_2 = "100M"
_DENSE = "densenet-90-60"  # Table 3's other students, and the teacher of 4 and 5
Line = list[str]


def length(scale: float, whole: int | None = None) -> int:
    """Epochs, and passes, at a scale of all (None: the first paper's passes)."""
    return max(1, round((whole or interpret.PAPER_PASSES) * scale))


def common(asked: argparse.Namespace) -> Line:
    """What every line takes over from the command line."""
    words = ["--workdir", asked.workdir, *data_options(asked)]
    return [*words, "--seed", str(asked.seed), "--precision", asked.precision]


def _trained(asked: argparse.Namespace) -> Line:
    """How long a training is, and all that is common."""
    words = []
    if asked.scale < 1:
        words = ["--epochs", str(length(asked.scale)), "--schedule", "cosine"]
    return [*words, *common(asked)]


def _searched(asked: argparse.Namespace, key: str, trials: int | None) -> Line:
    if trials is None:
        return []
    folder = Path(asked.workdir, f"reproduce-{key}-{asked.scale:g}-{asked.seed}")
    return ["--trials", str(trials), "--search", str(folder)]


def _fits(asked: argparse.Namespace, budget: str) -> bool:
    most = asked.max_budget
    count = Budget.parse(budget).num_params
    return most is None or count <= Budget.parse(most).num_params


def _family(key: str) -> Line:
    what, count = key.split("-")
    return [f"--{what}", count]


def _baselines(asked: argparse.Namespace, trials: int | None) -> list[Line]:
    return [
        ["baseline", "--budget", "10M", *_family(key)]
        + [*_searched(asked, f"baseline-{key}", trials), *_trained(asked)]
        for key in paper.FAMILIES
        if key.startswith("convs") and _fits(asked, "10M")
    ]


def _students(
    asked: argparse.Namespace, trials: int | None, *beyond: str
) -> list[Line]:
    return [
        ["student", "--budget", budget, *_family(key)]
        + [*_searched(asked, f"student-{budget}-{key}", trials), *_signal(asked)]
        for budget in (*paper.BUDGETS, *beyond)
        for key in paper.FAMILIES
        if _fits(asked, budget)
    ]


def _signal(asked: argparse.Namespace) -> Line:
    words = ["--passes", str(length(asked.scale)), *_trained(asked)]
    if asked.store is not None:
        words += ["--store", asked.store]
    # Last, as it takes any number of words.
    teachers = ["--teachers", str(len(urban2017.PUBLISHED_TEACHERS))]
    return words + (["--teacher", *asked.teacher] if asked.teacher else teachers)


def urban_table_1(asked: argparse.Namespace) -> list[Line]:
    """Baselines, the published teachers, and an ensemble of 16 found by a search."""
    trials = max(ENSEMBLE, round(TEACHER_TRIALS * asked.scale))
    search = _searched(asked, "teachers", trials)
    return [
        *_baselines(asked, asked.trials),
        *(
            ["teacher", "--published", str(number), *_trained(asked)]
            for number in range(1, len(urban2017.PUBLISHED_TEACHERS) + 1)
        ),
        ["teacher", *search, *_trained(asked)],
        ["ensemble", "--from-search", search[-1], "--select", "top"]
        + ["--size", str(ENSEMBLE), *common(asked)],
    ]


def urban_table_2(asked: argparse.Namespace) -> list[Line]:
    """Students of every family and budget, and Ba & Caruana's shallow one."""
    shallow = ["student", "--preset", "snn-ecnn-mimic-30k", *_signal(asked)]
    most = asked.max_budget
    fits = most is None or Budget.parse(most).num_params >= 70_900_938
    return [*_students(asked, asked.trials), *[shallow] * fits]


def urban_figure_1(asked: argparse.Namespace) -> list[Line]:
    """A search for every family and budget, and the baselines' at 10M.

    Figure 2's students of 100M are there if --max-budget names as many.
    """
    trials = asked.trials or FIGURE_TRIALS
    beyond = [_FIGURE_2] if asked.max_budget is not None else []
    return [*_students(asked, trials, *beyond), *_baselines(asked, trials)]


def _generations(asked: argparse.Namespace, dataset: str, *words: str) -> Line:
    if asked.dataset != DEFAULT_DATASET:
        dataset = asked.dataset
    whole = ALL_EPOCHS[asked.table]
    epochs = ["--epochs", str(length(asked.scale, whole))] if asked.scale < 1 else []
    # Said last, so that this data set counts.
    return ["born-again", *words, *epochs, *common(asked), "--dataset", dataset]


def ban_table_1(asked: argparse.Namespace) -> list[Line]:
    """A teacher and its student of every network, on CIFAR-10."""
    keys = [row.key for row in paper.BAN_1.rows]
    return [_generations(asked, "cifar10", "--arch", key) for key in keys]


def ban_table_2(asked: argparse.Namespace) -> list[Line]:
    """Three generations of every DenseNet, and one of each other loss, CIFAR-100."""
    return [
        _generations(asked, "cifar100", "--arch", row.key, *words)
        for row in paper.BAN_2.rows
        for words in (
            ("--loss", "ban", "--generations", "3"),
            ("--loss", "ban+l"),
            ("--loss", "cwtm"),
            ("--loss", "dkpp"),
        )
    ]


def teacher_by(number: int) -> str:
    """The word that stands for generation 0 of command `number`, counted from 1."""
    return f"<generation 0 of command {number}>"


def ban_table_3(asked: argparse.Namespace) -> list[Line]:
    """Wide-ResNets, and students of their kind and DenseNets, on CIFAR-100."""
    keys = [row.key for row in paper.BAN_3.rows]
    return [
        *(_generations(asked, "cifar100", "--arch", key) for key in keys),
        *(
            _students_of(asked, teacher_by(number), "--arch", _DENSE)
            for number in range(1, len(keys) + 1)
        ),
    ]


def ban_table_4(asked: argparse.Namespace) -> list[Line]:
    """DenseNets of other depths and compressions, taught by a DenseNet-90-60."""
    lines = [_generations(asked, "cifar100", "--arch", _DENSE)]
    for row in paper.BAN_4.rows[1:]:
        what, factor = row.key.split("-")
        words = ["--arch", _DENSE, f"--{what}-factor", factor]
        lines.append(_students_of(asked, teacher_by(1), *words))
    return lines


def ban_table_5(asked: argparse.Namespace) -> list[Line]:
    """Residual networks with layers of a DenseNet-90-60, on its answers and on labels.

    The table's first row is quoted there.
    """
    return [
        _generations(asked, "cifar100", "--arch", _DENSE),
        *(
            _students_of(asked, teacher_by(1), "--arch", row.key, "--loss", loss)
            for row in paper.BAN_5.rows[1:]
            for loss in ("ban", "hard-label")
        ),
    ]


def _students_of(asked: argparse.Namespace, teacher: str, *words: str) -> Line:
    return _generations(asked, "cifar100", *words, "--teacher", teacher)


def ban_table_6(asked: argparse.Namespace) -> list[Line]:
    """Both language models and a student of each."""
    words = ["--workdir", asked.workdir, "--seed", str(asked.seed)]
    if asked.data_dir is not None:
        words += ["--data-dir", asked.data_dir]
    if asked.scale < 1:
        words += ["--epochs", str(length(asked.scale, ALL_EPOCHS[asked.table]))]
    words += ["--precision", asked.precision, *["--quick"] * asked.quick]
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

# Options that only some tables have a use for.
TAKES = {
    "trials": ("urban-table-1", "urban-table-2", "urban-figure-1"),
    "max_budget": ("urban-table-1", "urban-table-2", "urban-figure-1"),
    "teacher": ("urban-table-2", "urban-figure-1"),
    "store": ("urban-table-2", "urban-figure-1"),
}


def check(asked: argparse.Namespace) -> None:
    """UserError for an option that would not change the table's lines."""
    for name, known in TAKES.items():
        if getattr(asked, name) is not None and asked.table not in known:
            option = name.replace("_", "-")
            raise UserError(
                f"--{option} is of {', '.join(known)}, not of {asked.table}; leave it "
                "out"
            )
