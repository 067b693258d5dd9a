"""Which cell of the papers' tables a run's results belong to.

A run is placed by what its results say of it (kind, architecture, parameters within
1 % of the budget, loss, data set), never by its path. Only the whole CIFAR training
split counts: quick runs and other data sets have no place in the papers' tables.
"""

from dataclasses import dataclass
from typing import Any

from kerasdistill.recipes.describing import describe_json
from kerasdistill.recipes.older import training_of
from kerasdistill.reports import paper
from kerasdistill.reports.paper_born_again import LOSSES

TOLERANCE = 0.01
TRAIN_IMAGES = {"cifar10": 40_000, "cifar100": 40_000}
ENSEMBLE = 16
_SNN = {"filters": [128], "bottleneck": 1200, "hidden": [30_000], "pool_stride": 2}
_DENSE = "densenet-90-60"
_PTB = (10_000, 82_430)  # words known, words in the test split
_LANGUAGE = {
    "lstm": {"units": 1500, "layers": 2, "filters": None},
    "cnn-lstm": {"units": 650, "layers": 2, "filters": [50, 100, 150] + 4 * [200]},
}


@dataclass(frozen=True)
class Cell:
    """One number of a run and the cell that it belongs to.

    `score` names the field of the results, a fraction or a perplexity.
    """

    table: str
    row: str
    column: str
    score: str = "test_accuracy"


class NoCell(Exception):
    """The run has no cell; says why."""


def cells_of(results: dict[str, Any]) -> list[Cell]:
    """The cells of a run.

    Raises:
        NoCell: none, with the reason.
        KeyError, TypeError, ValueError: the results are not what a run writes.
    """
    kind = results["kind"]
    if kind == "language-model":
        return _language_model(results)
    if kind == "born-again":
        return _born_again(results)
    if kind not in _URBAN:
        raise NoCell(f"no table has results of the kind {kind!r}")
    _whole(results["dataset"], "cifar10")
    return [_URBAN[kind](results)]


def family(results: dict[str, Any]) -> str:
    """The row of Table 2 that a student's or baseline's architecture belongs to."""
    recipe = results["recipe"]
    if recipe["kind"] != "StudentRecipe":  # others' architectures have other fields
        network = describe_json(recipe) or recipe["kind"]
        raise NoCell(f"its network, {network}, is none of the paper's")
    architecture = recipe["architecture"]
    if all(architecture.get(name) == value for name, value in _SNN.items()):
        return paper.SNN
    convs, hidden = len(architecture["filters"]), len(architecture["hidden"])
    key = f"convs-{convs}" if convs else f"hidden-{hidden}"
    has_bottleneck = architecture["bottleneck"] is not None
    if key not in paper.FAMILIES or has_bottleneck != key.endswith("-1"):
        raise NoCell("its bottleneck, or depth, is none of the paper's families'")
    return key


def _whole(dataset: dict[str, Any], *names: str) -> str:
    name, count = dataset["name"], dataset["num_samples"]
    if name not in names:
        raise NoCell(f"its data set is {name}, not {' or '.join(names)}")
    if count != (whole := TRAIN_IMAGES[name]):
        raise NoCell(f"it learnt from {count:,} images, not all {whole:,}")
    return name


def _budget(results: dict[str, Any]) -> str:
    count = results["num_params"]
    for text, budget in paper.BUDGETS.items():
        if abs(count - budget) <= TOLERANCE * budget:
            return text
    raise NoCell(f"{count:,} parameters are not within 1 % of a budget of the paper")


def _student(results: dict[str, Any]) -> Cell:
    loss = training_of(results["recipe"])["loss"]
    if loss != "logit-regression":
        raise NoCell(f"its loss is {loss}, the paper's students have logit-regression")
    if (key := family(results)) == paper.SNN:
        return Cell(paper.URBAN_2.name, key, "70M")
    return Cell(paper.URBAN_2.name, key, _budget(results))


def _baseline(results: dict[str, Any]) -> Cell:
    key = family(results)
    if not key.startswith("convs") or _budget(results) != "10M":
        raise NoCell("the paper's baselines are convolutional, of 10M parameters")
    return Cell(paper.URBAN_1.name, key, *paper.ONE)


def _teacher(results: dict[str, Any]) -> Cell:
    widths = results["recipe"]["architecture"]
    for key, (filters, dense) in paper.TEACHERS.items():
        # Other teachers have no dense width, or no filters.
        if (tuple(widths.get("filters", ())), widths.get("dense")) == (filters, dense):
            return Cell(paper.URBAN_1.name, key, *paper.ONE)
    raise NoCell("the widths are not those of one of the paper's three teachers")


def _ensemble(results: dict[str, Any]) -> Cell:
    kinds = [(each or {}).get("kind") for each in results.get("member_recipes", ())]
    if kinds != ["TeacherRecipe"] * ENSEMBLE:
        raise NoCell(f"the paper's ensemble has {ENSEMBLE} of its own CNN teachers")
    return Cell(paper.URBAN_1.name, "ensemble", *paper.ONE)


_URBAN = {
    "student": _student,
    "baseline": _baseline,
    "teacher": _teacher,
    "ensemble": _ensemble,
}


def _born_again(results: dict[str, Any]) -> list[Cell]:
    """A generation or ensemble, see `generations`; the 0th is the teacher."""
    dataset = _whole(results["dataset"], "cifar10", "cifar100")
    name, loss, teacher = (results[key] for key in ("arch", "loss", "teacher_arch"))
    factors = {key: results[f"{key}_factor"] for key in ("depth", "compression")}
    changed = [f"{key}-{value:g}" for key, value in factors.items() if value != 1]
    row, generation = "-".join(changed) or name, results.get("generation")
    cells: list[tuple[paper.Table, str, str]] = []
    if teacher in (None, name) and not changed:
        tables = (paper.BAN_1,) if dataset == "cifar10" else (paper.BAN_2, paper.BAN_3)
        columns = _columns(results, loss)
        cells = [(table, row, column) for table in tables for column in columns]
        if (dataset, name, generation) == ("cifar100", _DENSE, 0):
            cells.append((paper.BAN_4, "teacher", "Error"))
    elif (dataset, generation) == ("cifar100", 1):
        cells = {
            (_DENSE, "ban"): [(paper.BAN_4, row, "Error"), (paper.BAN_5, row, "BAN")],
            (_DENSE, "hard-label"): [(paper.BAN_5, row, "Baseline")],
        }.get((teacher, loss), [])
        if (name, loss) == (_DENSE, "ban") and teacher != _DENSE:
            cells = [(paper.BAN_3, teacher, "Dense-90-60")]
    fitting = [
        Cell(table.name, key, column)
        for table, key, column in cells
        if key in {each.key for each in table.rows} and column in table.columns
    ]
    if not fitting:
        what = results.get("ensemble") or f"generation {results['generation']}"
        raise NoCell(f"no table has {row} of {teacher or name}, {loss}, {what}")
    return fitting


def _columns(results: dict[str, Any], loss: str) -> list[str]:
    """What a network that learns from its own kind is called in tables 1 to 3."""
    if (ensemble := results.get("ensemble")) is not None:
        if loss != "ban":
            return []
        if results["arch"] == "densenet-80-120":  # there the paper's has the teacher
            renamed = {"Ens*3": "", "Ens*3 with teacher": "Ens*3"}
            return [renamed.get(ensemble, ensemble)]
        return [ensemble]
    number = results["generation"]
    if number == 0:
        return ["Teacher"]
    along = [f"BAN-{number}"] * (loss == "ban")
    return along + [LOSSES[loss]] if number == 1 and loss in LOSSES else along


def _language_model(results: dict[str, Any]) -> list[Cell]:
    """Table 6: the teacher, or the first student, of the paper's size."""
    data = results["dataset"]
    if (data["num_words"], data["num_tokens"]["test"]) != _PTB:
        raise NoCell(f"its text is {data['name']}, not the Penn Treebank of Table 6")
    network = results["recipe"]["architecture"]
    keys = [
        key
        for key, sizes in _LANGUAGE.items()
        if all(network.get(name) == value for name, value in sizes.items())
    ]
    if not keys:
        raise NoCell("the paper's language models have `size='paper'`")
    generation = results["generation"]
    if generation not in (0, 1):
        raise NoCell("Table 6 has a teacher and its first student; this is no such")
    if generation == 1 and (loss := training_of(results["recipe"])["loss"]) != "ban+l":
        raise NoCell(f"its loss is {loss}, Table 6's students have ban+l")
    who, name = ("Teacher", "BAN")[generation], paper.BAN_6.name
    return [
        Cell(name, keys[0], f"{who} {split}", f"{split}_perplexity")
        for split in ("val", "test")
    ]
