"""Keeps measured results, and writes the README's tables from them.

    python benchmarks/tables.py keep NAME runs/VERB-DIGEST   # results.json -> results/
    python benchmarks/tables.py write                        # results/ -> README.md

NAME-s1 and so on are further seeds of NAME. The README's tables of accuracies, errors
and perplexities are generated here; its speeds are benchmarks/README.md's.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill.files import write_atomic, write_json_atomic
from kerasdistill.reports import born_again, paper
from kerasdistill.runs import read_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKS = "<!-- {}: generated -->", "<!-- {}: end -->"
# Paths say nothing on another machine.
LEFT_OUT = (
    "model",
    "saved_model",
    "results",
    "chain",
    "best_recipe",
    "trials_table",
    "teachers",
    "picture",
    "path",
    "search",
    "history",
    "readable_name",
)

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

SEARCHES = (
    ("search-1m-2conv-gp10", "`gp`"),
    ("search-1m-2conv-gp", "`gp`, the likeliest hyperparameters instead of samples"),
    ("search-1m-2conv-gp4", "the same, starting with four points instead of eight"),
    ("search-1m-2conv-random", "`random`"),
)
COUNTS = (5, 10, 15, 20)  # trials

CHAINS = "born-again-*.json"
COLUMNS = ("teacher", "BAN", "BAN+L", "CWTM", "DKPP", "BAN-2", "Ens*2")

TEXTS = (  # Penn Treebank
    ("lm-small-teacher", "teacher, seed 0, labels"),
    ("lm-small-student", "its student, BAN+L"),
    ("lm-small-twin", "twin, seed 1, labels"),
    ("lm-small-ban", "the teacher's student, BAN alone"),
)


def keep(name: str, run: Path) -> None:
    """Copies what a finished run found, without paths, to benchmarks/results."""
    results = read_json(run / "results.json")
    kept = without_paths(results)
    if stored := kept.get("distillation_set"):  # a report tells its passes
        kept["distillation_set"] = {k: v for k, v in stored.items() if k != "path"}
    environment = read_json(run / "environment.json")
    kept["environment"] = {**environment, "command": None}
    if (run / "trials.json").exists():  # of a search
        kept["curve"] = [
            trial["val_accuracy"] for trial in read_json(run / "trials.json")["trials"]
        ]
    write_json_atomic(RESULTS / f"{name}.json", kept)


def without_paths(value: Any) -> Any:
    """Nested JSON values without the fields in LEFT_OUT and lists of paths."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in LEFT_OUT and not _paths(v)}
        return {k: without_paths(v) for k, v in kept.items()}
    return [without_paths(each) for each in value] if isinstance(value, list) else value


def _paths(value: Any) -> bool:
    """Whether it is a list of paths, such as an ensemble's members."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, str) and "/" in each for each in value)


def _kept(name: str) -> dict[str, Any] | None:
    """What `keep` wrote under this name."""
    path = RESULTS / f"{name}.json"
    return read_json(path) if path.exists() else None


def _seeds(name: str) -> list[dict[str, Any]]:
    """The same of all seeds."""
    first = _kept(name)
    others = sorted(RESULTS.glob(f"{name}-s[0-9].json"))
    return [first, *map(read_json, others)] if first else []


def spread(values: Sequence[float]) -> str:
    """Percentages' mean, ± their deviation over seeds."""
    mean = f"{100 * statistics.mean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f} ({len(values)})"


def table() -> str:
    """The README's table as Markdown."""
    lines = [
        "| network | parameters | epochs | validation | test | paper's test | hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, what, published, which in ROWS:
        if not (found := _seeds(name)):
            lines.append(f"| {what} | missing | | | | {published} | |")
            continue
        first = found[0]
        epochs = hours = ""
        if "recipe" in first:  # an ensemble was not trained
            epochs = f"{first['epochs']} ({first['recipe']['training']['schedule']})"
            hours = _hours(found)
        lines.append(
            f"| {what} | {first['num_params']:,} | {epochs} | {_scores(found, which)} "
            f"| {published} | {hours} |"
        )
    return "\n".join(lines)


def _scores(found: Sequence[dict[str, Any]], which: str = "") -> str:
    """Two cells: accuracy on validation and on test."""
    return " | ".join(
        spread([each[f"{split}_accuracy{which}"] for each in found])
        for split in ("val", "test")
    )


def _hours(found: Sequence[dict[str, Any]]) -> str:
    """A cell: what a training took, the mean over seeds."""
    return f"{statistics.mean(each['seconds'] for each in found) / 3600:.2f}"


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
        if not (found := _seeds(f"student-{name}")):
            lines.append(f"| {what} | missing | | | | {published} | |")
            continue
        twins = _seeds(f"baseline-{name}")
        labels = spread([each["test_accuracy"] for each in twins]) if twins else ""
        lines.append(
            f"| {what} | {found[0]['num_params']:,} | {_scores(found)} | {labels} "
            f"| {published} | {_hours(found)} |"
        )
    return "\n".join(lines)


def precisions() -> str:
    """Accuracies and median speed of one training in half precision and in single."""
    lines = ["| precision | validation | test | images/s |", "|---|---|---|---|"]
    for name, what in PRECISIONS:
        if not (found := _seeds(name)):
            lines.append(f"| `{what}` | missing | | |")
            continue
        speed = statistics.median(each["images_per_second"] for each in found)
        lines.append(f"| `{what}` | {_scores(found)} | {speed:,.0f} |")
    return "\n".join(lines)


def searches() -> str:
    """Best validation accuracy so far of each search, and its best trial's test."""
    lines = [
        f"| oracle | {' | '.join(f'{n} trials' for n in COUNTS)} | five best, mean "
        "| test, best trial |",
        "|---" * (len(COUNTS) + 3) + "|",
    ]
    for name, what in SEARCHES:
        if (found := _kept(name)) is None:
            lines.append(f"| {what} | missing |" + " |" * (len(COUNTS) + 1))
            continue
        scored = [[x for x in found["curve"][:count] if x] for count in COUNTS]
        best = " | ".join(f"{max(values):.2%}" for values in scored)
        lines.append(
            f"| {what} | {best} | {found['mean_of_five_best']:.2%} "
            f"| {found['test_accuracy']:.2%} |"
        )
    return "\n".join(lines)


def texts() -> str:
    """Perplexities of language models, and what became of their rates."""
    lines = [
        "| LSTM of 200 units | parameters | epochs | validation | test | hours |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in TEXTS:
        if (found := _kept(name)) is None:
            lines.append(f"| {what} | missing | | | | |")
            continue
        lines.append(
            f"| {what} | {found['num_params']:,} | {found['epochs']} "
            f"| {found['val_perplexity']:.1f} | {found['test_perplexity']:.1f} "
            f"| {_hours([found])} |"
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


def write() -> None:
    """Replaces what stands between the markers in README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    made_of = (
        ("results", table()),
        ("students", students()),
        ("precisions", precisions()),
        ("searches", searches()),
        ("generations", generations()),
        ("texts", texts()),
    )
    for name, made in made_of:
        begin, end = (mark.format(name) for mark in MARKS)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}"
    write_atomic(readme, text)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["keep", name, run]:
            keep(name, Path(run))
        case ["write"]:
            write()
        case _:
            sys.exit(__doc__)
