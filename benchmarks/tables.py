"""Keeps measured results, and writes the tables of the README and of docs/results.md.

    python benchmarks/tables.py keep NAME runs/VERB-DIGEST   # results.json -> results/
    python benchmarks/tables.py write                        # results/ -> the pages

Tables of accuracies, errors and perplexities are generated here. Speeds are
benchmarks/README.md's.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kept import RESULTS, ROOT, hours, keep, kept, seeds, spread

from kerasdistill.files import write_atomic
from kerasdistill.reports import born_again, paper
from kerasdistill.runs import read_json

MARKS = "<!-- {}: generated -->", "<!-- {}: end -->"
MIRRORED = "_mirrored"  # accuracies of the mean with the mirror image

ROWS = (  # file, what it is, published accuracy and where it is printed, which of ours
    ("teacher-1", "teacher 76-126-148-1200, hard labels", "92.78 (Table 1)", ""),
    (
        "student-1m-3conv",
        "student, 3 convolutions, 1M, that teacher's logits",
        "90.7 (2)",
        "",
    ),
    ("baseline-1m-3conv", "the same student, hard labels", "not printed at 1M", ""),
    ("teacher-1-small", "teacher 76-126-148-1200, batch 64", "92.78 (Table 1)", ""),
    ("teacher-2-small", "teacher 96-171-128-512, batch 64", "92.77 (1)", ""),
    ("teacher-3-small", "teacher 54-158-189-1044, batch 64", "92.67 (1)", ""),
    ("ensemble-3-small", "mean of those three", "93.8, of 16 (1)", ""),
    ("teacher-fast", "fast teacher, hard labels", "not the paper's", ""),
    ("teacher-fast", "the same, flip averaging", "not the paper's", MIRRORED),
    ("ensemble-4", "mean of those three and the first fast one", "93.8, of 16 (1)", ""),
    (
        "ensemble-greedy",
        "mean of the greedy choice of all five: the two fast ones",
        "93.8, of 16 (1)",
        "",
    ),
    (
        "student-1m-3conv-fast",
        "student, 3 convolutions, 1M, the fast teacher's logits",
        "90.7 (2)",
        "",
    ),
)

# Students of that greedy choice; beside them the same families on labels.
STUDENTS = (*(("1M", family) for family in paper.FAMILIES), ("10M", "convs-3"))

# The same student of the first fast teacher, seeds 0, 1 and 2 of either.
PRECISIONS = (
    ("student-1m-3conv-fast", "mixed_bfloat16"),
    ("student-1m-3conv-fast-float32", "float32"),
)

CHAINS = "born-again-*.json"
COLUMNS = ("teacher", "BAN", "BAN+L", "CWTM", "DKPP", "BAN-2", "Ens*2")

TEXTS = (  # Penn Treebank
    ("lm-small-teacher", "teacher, seed 0, labels"),
    ("lm-small-student", "its student, BAN+L"),
    ("lm-small-twin", "twin, seed 1, labels"),
    ("lm-small-ban", "the teacher's student, BAN alone"),
)


def table() -> str:
    """Teachers and their first students, as Markdown."""
    lines = [
        "| network | parameters | epochs | validation | test | paper's test | hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, what, published, which in ROWS:
        if not (found := seeds(name)):
            lines.append(f"| {what} | missing | | | | {published} | |")
            continue
        first = found[0]
        epochs = took = ""
        if "recipe" in first:  # an ensemble was not trained
            epochs = f"{first['epochs']} ({first['recipe']['training']['schedule']})"
            took = hours(found)
        lines.append(
            f"| {what} | {first['num_params']:,} | {epochs} | {_scores(found, which)} "
            f"| {published} | {took} |"
        )
    return "\n".join(lines)


def _scores(found: Sequence[dict[str, Any]], which: str = "") -> str:
    """Two cells: accuracy on validation and on test."""
    return " | ".join(
        spread([each[f"{split}_accuracy{which}"] for each in found])
        for split in ("val", "test")
    )


def students() -> str:
    """The first paper's Table 2, as far as it was run, with twins on labels."""
    lines = [
        "| student | parameters | validation | test | test, on labels instead "
        "| paper's test | hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for budget, family in STUDENTS:
        what = f"{paper.FAMILIES[family]}, {budget}"
        published = paper.URBAN_2.value(family, budget)
        name = f"{budget}-{family}".lower()
        if not (found := seeds(f"student-{name}")):
            lines.append(f"| {what} | missing | | | | {published} | |")
            continue
        twins = seeds(f"baseline-{name}")
        labels = spread([each["test_accuracy"] for each in twins]) if twins else ""
        lines.append(
            f"| {what} | {found[0]['num_params']:,} | {_scores(found)} | {labels} "
            f"| {published} | {hours(found)} |"
        )
    return "\n".join(lines)


def precisions() -> str:
    """Accuracies and median speed of one training in half precision and in single."""
    lines = ["| precision | validation | test | images/s |", "|---|---|---|---|"]
    for name, what in PRECISIONS:
        if not (found := seeds(name)):
            lines.append(f"| `{what}` | missing | | |")
            continue
        speed = statistics.median(each["images_per_second"] for each in found)
        lines.append(f"| `{what}` | {_scores(found)} | {speed:,.0f} |")
    return "\n".join(lines)


def searches() -> str:
    """Real searches, the oracle's and random points'."""
    from real_tables import real_table  # which needs this module

    return real_table((kept("real_search") or {}).get("real"))


def texts() -> str:
    """Perplexities of language models, and what became of their rates."""
    lines = [
        "| LSTM of 200 units | parameters | epochs | validation | test | hours |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in TEXTS:
        if (found := kept(name)) is None:
            lines.append(f"| {what} | missing | | | | |")
            continue
        lines.append(
            f"| {what} | {found['num_params']:,} | {found['epochs']} "
            f"| {found['val_perplexity']:.1f} | {found['test_perplexity']:.1f} "
            f"| {hours([found])} |"
        )
    return "\n".join(lines)


def generations() -> str:
    """Test errors of generations and ensembles, as `report born-again` has them."""
    lines = [
        f"| network, data | epochs | {' | '.join(COLUMNS)} |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for found in born_again.describe([*map(read_json, sorted(RESULTS.glob(CHAINS)))]):
        errors = found["rows"][0]["errors"]
        cells = " | ".join(
            spread([each / 100 for each in errors[name]["each"]])
            if name in errors
            else "missing"
            for name in COLUMNS
        )
        settings = born_again.settings_text(found)
        what = f"{found['network']}, {found['dataset']}{settings}"
        lines.append(f"| {what} | {found['epochs']} | {cells} |")
    return "\n".join(lines)


def _percent(found: Sequence[dict[str, Any]], field: str = "test_accuracy") -> str:
    return f"{spread([each[field] for each in found])} %"


def highlights() -> str:
    """The README's table: what students reach beside teachers, labels and papers."""
    lines = [
        "| what | teacher | student | on labels alone | the paper's student |",
        "|---|---|---|---|---|",
    ]
    teacher = _percent(seeds("ensemble-greedy"))
    for budget, family in (("1M", "convs-3"), ("10M", "convs-3")):
        name = f"{budget}-{family}".lower()
        twins = seeds(f"baseline-{name}")
        lines.append(
            f"| CIFAR-10, 3 convolutions, {budget} weights | {teacher} "
            f"| {_percent(seeds(f'student-{name}'))} "
            f"| {_percent(twins) if twins else ''} "
            f"| {paper.URBAN_2.value(family, budget)} % |"
        )
    runs = seeds("born-again-c100-wrn-16-1-banl")
    first, second = ([run["generations"][n] for run in runs] for n in (0, 1))
    lines.append(
        f"| CIFAR-100, Wide-ResNet-16-1, born again (BAN+L) | {_percent(first)} "
        f"| {_percent(second)} | as the teacher | |"
    )
    names = ("lm-small-teacher", "lm-small-student", "lm-small-twin")
    cells = (f"{kept(name)['test_perplexity']:.1f}" for name in names)
    lines.append(f"| Penn Treebank, LSTM, perplexity | {' | '.join(cells)} | |")
    return "\n".join(lines)


PAGES = {  # page -> what stands between its markers
    ROOT / "README.md": {"highlights": highlights},
    ROOT / "docs" / "results.md": {
        "results": table,
        "students": students,
        "precisions": precisions,
        "searches": searches,
        "generations": generations,
        "texts": texts,
    },
}


def written(page: Path) -> str:
    """The page's text with its tables made anew."""
    text = page.read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        begin, end = (mark.format(name) for mark in MARKS)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keep", name, run]:
            keep(name, Path(run))
        case ["write"]:
            for each in PAGES:
                write_atomic(each, written(each))
        case _:
            sys.exit(__doc__)
