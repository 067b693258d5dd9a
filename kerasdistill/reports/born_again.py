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

Errors = dict[str, dict[str, float]]  # column -> what tells a model apart -> percent


def load(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The results of runs' folders, or of all finished runs in a workdir.

    Raises:
        UserError: a path that holds none.
    """
    runs: dict[Path, dict[str, Any]] = {}
    for path in map(Path, paths):
        files = [path / "results.json"]
        if not files[0].exists():
            files = sorted(path.glob(f"{KIND}-*/results.json"))
        here = {file.resolve(): read_json(file) for file in files}
        if not here or not all(map(_is_one, here.values())):
            raise UserError(
                f"{path} holds no finished born-again run; give the folder of one (the "
                "same command finishes it), or a `workdir` that has some"
            )
        runs |= here
    return list(runs.values())


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
    return [table for table, _ in grouped(runs)]


def grouped(
    runs: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], list[Mapping[str, Any]]]]:
    """Each table that `describe` makes, and the runs in it."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        key = json.dumps([_networks(run), _signal(run), _settings(run)], sort_keys=True)
        groups.setdefault(key, []).append(run)
    tables = [_table(group) for group in groups.values()]
    alike: dict[str, list[dict[str, Any]]] = {}  # title -> settings of its tables
    for table in tables:
        alike.setdefault(_title(table), []).append(table["settings"])
    for table in tables:
        twins = alike[_title(table)]
        settings = table["settings"].items()
        apart = (each for each in settings if any(each not in t.items() for t in twins))
        table["settings"] = dict(apart)
    return list(zip(tables, groups.values(), strict=True))


def name(run: Mapping[str, Any]) -> str:
    """Its name, for people, among the runs of its table."""
    return f"{_column(run)}, seed {run['seed']}"


def title(table: Mapping[str, Any]) -> str:
    """A table's name, for people."""
    return _title(table) + settings_text(table)


def settings_text(table: Mapping[str, Any]) -> str:
    """The settings that tell a table from others of its name, to put behind that."""
    return "".join(
        f", {name.replace('_', ' ')} {str(value)[:12]}"  # a digest's beginning will do
        for name, value in table["settings"].items()
    )


def _settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """All that was set but what may differ inside a table."""
    recipe = run["recipe"]
    settings = {**run["dataset"], **recipe["architecture"], **older.EVERY}
    settings |= older.training_of(recipe)
    return {key: settings[key] for key in settings if key not in _OF_A_COLUMN}


def _signal(run: Mapping[str, Any]) -> str:
    """Whether teachers were live or stored; runs on labels are beside both."""
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


def _networks(run: Mapping[str, Any]) -> dict[str, Any]:
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
    networks = _networks(runs[0])
    published = paper.find(**networks)
    rows = [{"name": "ours", "errors": _side_by_side(runs)}]
    for name in dict.fromkeys(map(_column, runs)):
        chain = [run for run in runs if _column(run) == name]
        if name != "BAN" and any(len(run["generations"]) > 2 for run in chain):
            rows.append({"name": f"ours, {name}", "errors": _spreads(_along(chain))})
    theirs = published.errors if published else {}
    filled = {column for row in rows for column in row["errors"]} | theirs.keys()
    later = {*filled, *_THEN} - {*_FIRST, paper.LABELS}
    labels = [paper.LABELS] if paper.LABELS in filled else []
    ensembles_last = sorted(later, key=lambda name: (name.startswith("Ens"), name))
    return {
        **networks,
        "epochs": runs[0]["recipe"]["training"]["epochs"],
        "signal": _signal(runs[0]),
        "columns": [_FIRST[0], *labels, *_FIRST[1:], *ensembles_last],
        "rows": rows,
        "paper": published and {"table": published.table, "errors": theirs},
        "settings": _settings(runs[0]),
    }


def _side_by_side(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Column -> spread of the errors of the models in it."""
    errors: Errors = {}
    for run in runs:
        teacher, first = run["generations"][:2]
        _note(errors, paper.TEACHER, teacher["weights_digest"], teacher)
        _note(errors, _column(run), first["weights_digest"], first)
    return _spreads(errors | _along([run for run in runs if run["loss"] == "ban"]))


def _along(runs: Sequence[Mapping[str, Any]]) -> Errors:
    """Errors of the generations of one loss and of their ensembles."""
    errors: Errors = {}
    for run in runs:
        for row in run["generations"][1:]:
            _note(errors, f"BAN-{row['generation']}", row["weights_digest"], row)
        joined = {each["name"]: each for each in run["ensembles"]}
        if "Ens*3 with teacher" in joined:  # which is what the paper has there
            joined["Ens*3"] = joined.pop("Ens*3 with teacher")
        digests = [row["weights_digest"] for row in run["generations"]]
        for name, each in joined.items():
            members = " ".join(digests[number] for number in each["members"])
            _note(errors, name, members, each)
    return errors


def _note(errors: Errors, column: str, model: str, scored: Mapping[str, Any]) -> None:
    if scored["test_accuracy"] is not None:
        errors.setdefault(column, {})[model] = 100 * (1 - scored["test_accuracy"])


def _spreads(errors: Errors) -> dict[str, dict[str, Any]]:
    return {
        column: {
            "mean": statistics.mean(models.values()),
            "sd": statistics.stdev(models.values()) if len(models) > 1 else None,
            "each": list(models.values()),
        }
        for column, models in errors.items()
    }


def text(described: Sequence[Mapping[str, Any]]) -> str:
    """The tables for people; errors in percent, mean ± sd where there are seeds."""
    lines: list[str] = []
    for table in described:
        lines += [f"{title(table)}: test error in percent", *_lines(table), ""]
    return "\n".join(lines).rstrip()


def _title(table: Mapping[str, Any]) -> str:
    network = table["network"]
    for name in ("depth_factor", "compression_factor"):
        if table[name] != 1:
            network += f", {name.replace('_', ' ')} {table[name]:g}"
    taught = f", taught by {table['teacher']}" if table["teacher"] else ""
    stored = ", stored signal" if table["signal"] == "stored" else ""
    return f"{network}{taught} on {table['dataset']}, {table['epochs']} epochs{stored}"


def _lines(table: Mapping[str, Any]) -> list[str]:
    columns = table["columns"]
    rows = [
        [row["name"], *(_cell(row["errors"].get(column)) for column in columns)]
        for row in table["rows"]
    ]
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
