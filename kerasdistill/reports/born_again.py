"""Generations and ensembles beside the paper's row: `results.json` files alone."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.recipes import older
from kerasdistill.reports import paper_born_again as paper
from kerasdistill.reports import tables
from kerasdistill.runs import read_json

KIND = "born-again"
_FIRST = (paper.TEACHER, *paper.LOSSES.values())
_THEN = ("BAN-1", "Ens*2", "Ens*3")  # and those that there are
# Fields of a recipe's training that may differ between the columns of one table, or
# between the values of one column.
_OF_A_COLUMN = ("loss", "seed", "label_weight", "teacher_weight", "permutation")


def load(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The results of runs' folders, or of all finished runs in a workdir.

    Raises:
        UserError: a path that holds none.
    """
    found: dict[Path, dict[str, Any]] = {}
    for path in map(Path, paths):
        files = [path / "results.json"]
        if not files[0].exists():
            files = sorted(path.glob(f"{KIND}-*/results.json"))
        runs = {file: read_json(file) for file in files}
        if not runs or not all(_is_one(run) for run in runs.values()):
            raise UserError(
                f"{path} holds no finished born-again run; give the folder of one (the "
                "same command finishes it), or a --workdir that has some"
            )
        found |= {file.resolve(): run for file, run in runs.items()}
    return list(found.values())


def _is_one(run: Any) -> bool:
    return isinstance(run, dict) and run.get("kind") == KIND and "ensembles" in run


def describe(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A table for each network, data set, teacher and training, beside the paper's.

    Returns:
        {dataset, network, teacher, epochs, signal, settings, columns, rows, paper}:
        `settings` holds what else tells tables apart that are of one network, data set,
        teacher and length; a row of ours has a name and `errors`, {column: {mean, sd,
        each}} in percent of the test images, over seeds; `paper` is {table, errors} or
        None.
    """
    return [table for table, _ in _tabled(runs)]


def grouped(
    runs: Sequence[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The runs of each table that `describe` makes, behind its title."""
    return [(_whole_title(table), group) for table, group in _tabled(runs)]


def _tabled(
    runs: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], list[Mapping[str, Any]]]]:
    """Each table, and the runs in it."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        kind = json.dumps([_asked(run), _signal(run), _settings(run)], sort_keys=True)
        groups.setdefault(kind, []).append(run)
    found = [(_table(group), group) for group in groups.values()]
    titles = [_title(table) for table, _ in found]
    apart = _settings_apart([group[0] for _, group in found], titles)
    return [
        ({**table, "settings": settings}, group)
        for (table, group), settings in zip(found, apart, strict=True)
    ]


def name(run: Mapping[str, Any]) -> str:
    """Its name, for people, among the runs of its table."""
    return f"{_column(run)}, seed {run['seed']}"


def told(settings: Mapping[str, Any]) -> str:
    """A table's `settings`, to put behind its name."""
    return "".join(
        f", {name.replace('_', ' ')} {str(value)[:12]}"  # a digest's beginning will do
        for name, value in settings.items()
    )


def _settings_apart(
    runs: Sequence[Mapping[str, Any]], titles: Sequence[str]
) -> list[dict[str, Any]]:
    """Of each run, the settings in which not all runs of its title are the same."""
    alike: dict[str, list[dict[str, Any]]] = {}
    for run, title in zip(runs, titles, strict=True):
        alike.setdefault(title, []).append(_settings(run))
    return [
        dict(
            setting
            for setting in _settings(run).items()
            if any(setting not in twin.items() for twin in alike[title])
        )
        for run, title in zip(runs, titles, strict=True)
    ]


def _settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """All that was set but what may differ inside a table."""
    recipe = run["recipe"]
    parts = run["dataset"], recipe["architecture"], older.EVERY
    everything = {key: value for part in parts for key, value in part.items()}
    everything |= older.training_of(recipe)
    return {key: everything[key] for key in everything if key not in _OF_A_COLUMN}


def _signal(run: Mapping[str, Any]) -> str:
    """How the students' teachers were asked; those on labels are beside both."""
    return run.get("teacher_signal") or "live"


def _column(run: Mapping[str, Any]) -> str:
    """Of its first student: the loss, with what of it is not the paper's."""
    name = paper.STUDENTS.get(run["loss"], run["loss"])
    training = older.training_of(run["recipe"])
    weights = [training.get(f"{who}_weight", 1) for who in ("label", "teacher")]
    if run["loss"] == "ban+l" and weights != [1, 1]:
        return f"{name} {weights[0]:g}:{weights[1]:g}"
    fixed = run["loss"] == "dkpp" and training.get("permutation") == "fixed"
    return f"{name} fixed" if fixed else name


def _asked(run: Mapping[str, Any]) -> dict[str, Any]:
    teacher = run["teacher_arch"]
    plain = run["depth_factor"] == run["compression_factor"] == 1
    return {
        "dataset": run["dataset"]["name"],
        "network": run["arch"],
        "teacher": None if teacher == run["arch"] and plain else teacher,
        "depth_factor": run["depth_factor"],
        "compression_factor": run["compression_factor"],
    }


def _table(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    asked = _asked(runs[0])
    published = paper.find(**asked)
    rows = [{"name": "ours", "errors": _side_by_side(runs)}]
    for name in dict.fromkeys(map(_column, runs)):
        chain = [run for run in runs if _column(run) == name]
        if name != "BAN" and any(len(run["generations"]) > 2 for run in chain):
            rows.append({"name": f"ours, {name}", "errors": _along(chain)})
    theirs = published.errors if published else {}
    known = dict.fromkeys(c for row in rows for c in row["errors"]) | theirs
    later = {*known, *_THEN} - {*_FIRST, paper.LABELS}
    labels = [paper.LABELS] if paper.LABELS in known else []
    return {
        **asked,
        "epochs": runs[0]["recipe"]["training"]["epochs"],
        "signal": _signal(runs[0]),
        "columns": [_FIRST[0], *labels, *_FIRST[1:], *sorted(later, key=_place)],
        "rows": [
            {**row, "errors": {name: _spread(e) for name, e in row["errors"].items()}}
            for row in rows
        ],
        "paper": published and {"table": published.table, "errors": theirs},
    }


def _place(column: str) -> tuple[bool, str]:
    return column.startswith("Ens"), column


def _side_by_side(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Column -> error of each model in it, by what tells models apart."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        teacher, first = run["generations"][:2]
        _note(found, paper.TEACHER, teacher["weights_digest"], teacher)
        _note(found, _column(run), first["weights_digest"], first)
    return found | _along([run for run in runs if run["loss"] == "ban"])


def _along(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """As `_side_by_side`, of the generations of one loss and their ensembles."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        for row in run["generations"][1:]:
            _note(found, f"BAN-{row['generation']}", row["weights_digest"], row)
        joined = {each["name"]: each for each in run["ensembles"]}
        if "Ens*3 with teacher" in joined:  # which is what the paper has there
            joined["Ens*3"] = joined.pop("Ens*3 with teacher")
        digests = [row["weights_digest"] for row in run["generations"]]
        for name, each in joined.items():
            members = " ".join(digests[number] for number in each["members"])
            _note(found, name, members, each)
    return found


def _note(found: dict, column: str, key: str, scored: Mapping[str, Any]) -> None:
    if scored["test_accuracy"] is not None:
        error = 100 * (1 - scored["test_accuracy"])
        found.setdefault(column, {})[key] = error


def _spread(errors: Mapping[str, float]) -> dict[str, Any]:
    each = list(errors.values())
    sd = statistics.stdev(each) if len(each) > 1 else None
    return {"mean": statistics.mean(each), "sd": sd, "each": each}


def text(found: Sequence[Mapping[str, Any]]) -> str:
    """The tables for people; errors in percent, mean ± sd where there are seeds."""
    lines: list[str] = []
    for table in found:
        title = f"{_whole_title(table)}: test error in percent"
        lines += [title, *_lines(table), ""]
    return "\n".join(lines).rstrip()


def _title(table: Mapping[str, Any]) -> str:
    network = table["network"]
    for name in ("depth_factor", "compression_factor"):
        if table[name] != 1:
            network += f", {name.replace('_', ' ')} {table[name]:g}"
    taught = f", taught by {table['teacher']}" if table["teacher"] else ""
    stored = ", stored signal" if table["signal"] == "stored" else ""
    return f"{network}{taught} on {table['dataset']}, {table['epochs']} epochs{stored}"


def _whole_title(table: Mapping[str, Any]) -> str:
    return f"{_title(table)}{told(table['settings'])}"


def _lines(table: Mapping[str, Any]) -> list[str]:
    columns = table["columns"]
    rows = []
    for row in table["rows"]:
        cells = [_cell(row["errors"].get(column)) for column in columns]
        rows.append([row["name"], *cells])
    name, errors = "paper", {}
    if theirs := table["paper"]:
        name, errors = f"paper, Table {theirs['table']}", theirs["errors"]
    cells = [f"{errors[c]:.2f}" if c in errors else tables.MISSING for c in columns]
    return tables.table(["", *columns], [*rows, [name, *cells]])


def _cell(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return tables.MISSING
    mean = f"{spread['mean']:.2f}"
    return mean if spread["sd"] is None else f"{mean} ± {spread['sd']:.2f}"
