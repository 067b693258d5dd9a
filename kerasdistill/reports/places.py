"""Which cell of which table a run's results belong to (fact sheet A7, A8, B9).

A run is placed by what its results say of it (kind, architecture, parameters within
1 % of the budget, loss, data set), never by its path. Only the whole CIFAR training
split counts: `--quick` and other data sets have no place in the papers' tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kerasdistill.recipes import born_again
from kerasdistill.recipes.base import fields
from kerasdistill.reports import paper

TOLERANCE = 0.01
TRAIN_IMAGES = {"cifar10": 40_000, "cifar100": 40_000}
ENSEMBLE = 16
_SNN = {"filters": [128], "bottleneck": 1200, "hidden": [30_000], "pool_stride": 2}
_BAN_LOSSES = {"ban": "BAN", "ban+l": "BAN+L", "cwtm": "CWTM", "dkpp": "DKPP"}


@dataclass(frozen=True)
class Place:
    """One number of a run and the cell that it belongs to.

    `score` names the field of the results, a fraction or a perplexity.
    """

    table: str
    row: str
    column: str
    score: str = "test_accuracy"


class NoPlace(Exception):
    """The run has no cell; says why."""


def places(results: dict[str, Any]) -> list[Place]:
    """The cells of a run.

    Raises:
        NoPlace: none, with the reason.
        KeyError, TypeError, ValueError: the results are not what a run writes.
    """
    kind = results["kind"]
    recipe = results.get("recipe") or {}
    if kind == "language-model":
        return _language_model(results)
    if recipe.get("kind") == "BornAgainRecipe":
        return _born_again(results)
    if kind not in _URBAN:
        raise NoPlace(f"no table has results of the kind {kind!r}")
    _whole(results["dataset"], "cifar10")
    return [_URBAN[kind](results)]


def family(results: dict[str, Any]) -> str:
    """The row of Table 2 that a student's or baseline's architecture belongs to."""
    architecture = results["recipe"]["architecture"]
    convs, hidden = len(architecture["filters"]), len(architecture["hidden"])
    key = f"convs-{convs}" if convs else f"hidden-{hidden}"
    expected = key in ("convs-1", "hidden-1")
    if key not in paper.FAMILIES or expected != (
        architecture["bottleneck"] is not None
    ):
        raise NoPlace("its bottleneck, or depth, is none of the paper's families'")
    return key


def _whole(dataset: dict[str, Any], *names: str) -> str:
    name, count = dataset["name"], dataset["num_samples"]
    if name not in names:
        raise NoPlace(f"its data set is {name}, not {' or '.join(names)}")
    if count != (whole := TRAIN_IMAGES[name]):
        raise NoPlace(f"it learnt from {count:,} images, not all {whole:,}")
    return name


def _budget(results: dict[str, Any]) -> str:
    count = results["num_params"]
    for text, budget in paper.BUDGETS.items():
        if abs(count - budget) <= TOLERANCE * budget:
            return text
    raise NoPlace(f"{count:,} parameters are not within 1 % of a budget of the paper")


def _student(results: dict[str, Any]) -> Place:
    loss = results["recipe"]["training"]["loss"]
    if loss != "logit-regression":
        raise NoPlace(f"its loss is {loss}, the paper's students have logit-regression")
    architecture = results["recipe"]["architecture"]
    if all(architecture.get(name) == value for name, value in _SNN.items()):
        return Place(paper.URBAN_2.name, "snn", "70M")
    return Place(paper.URBAN_2.name, family(results), _budget(results))


def _baseline(results: dict[str, Any]) -> Place:
    key = family(results)
    if not key.startswith("convs") or _budget(results) != "10M":
        raise NoPlace("the paper's baselines are convolutional, of 10M parameters")
    return Place(paper.URBAN_1.name, key, *paper.ONE)


def _teacher(results: dict[str, Any]) -> Place:
    recipe = results["recipe"]
    widths = recipe["architecture"]
    for key, (filters, dense) in paper.TEACHERS.items():
        # The fast teacher has no dense width.
        if (tuple(widths["filters"]), widths.get("dense")) == (filters, dense):
            return Place(paper.URBAN_1.name, key, *paper.ONE)
    raise NoPlace("the widths are not those of one of the paper's three teachers")


def _ensemble(results: dict[str, Any]) -> Place:
    kinds = [(each or {}).get("kind") for each in results.get("member_recipes", ())]
    if kinds != ["TeacherRecipe"] * ENSEMBLE:
        raise NoPlace(f"the paper's ensemble has {ENSEMBLE} of its own CNN teachers")
    return Place(paper.URBAN_1.name, "ensemble", *paper.ONE)


_URBAN = {
    "student": _student,
    "baseline": _baseline,
    "teacher": _teacher,
    "ensemble": _ensemble,
}


def _born_again(results: dict[str, Any]) -> list[Place]:
    """A generation; the 0th is the teacher, or Table 5's baseline."""
    recipe = results["recipe"]
    dataset = _whole(results["dataset"], "cifar10", "cifar100")
    loss = recipe["training"]["loss"]
    generation = results.get("generation", 0 if loss == "hard-label" else 1)
    teacher = results.get("teacher_architecture")
    row = _born_again_row(recipe["architecture"])
    found = list(_born_again_cells(row, dataset, generation, loss, teacher))
    if not found:
        raise NoPlace(f"no table has {row}, generation {generation}, loss {loss}")
    return found


def _born_again_row(architecture: dict[str, Any]) -> str:
    """The name of the network: what `born_again.architecture` makes of a row's key."""
    for key, network in _networks():
        same = fields(network)
        different = [
            name
            for name, value in same.items()
            if name not in ("weight_decay", "dropout_rate")
            and _plain(value) != _plain(architecture.get(name))
        ]
        if not different:
            return key
    raise NoPlace("the network is none of the second paper's tables")


def _networks() -> Iterator[tuple[str, Any]]:
    for table in (paper.BAN_1, paper.BAN_5):
        for row in table.rows:
            if row.key != "pre-resnet-1001":  # only quoted by the paper
                yield row.key, born_again.architecture(row.key)
    for row in paper.BAN_4.rows[1:]:
        what, factor = row.key.split("-")
        factors = {f"{what}_factor": float(factor)}
        yield row.key, born_again.architecture("densenet-90-60", **factors)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _born_again_cells(
    row: str, dataset: str, generation: int, loss: str, teacher: str | None
) -> Iterator[Place]:
    label = _BAN_LOSSES.get(loss)
    if dataset == "cifar10":
        tables, columns = (paper.BAN_1,), {0: ["Teacher"], 1: [label]}
    else:
        tables = (paper.BAN_2, paper.BAN_3, paper.BAN_4, paper.BAN_5)
        columns = {
            0: ["Teacher", "Baseline"] + ["Error"] * (row == "densenet-90-60"),
            1: [label, "Error"] + ["BAN-1"] * (loss == "ban"),
        }
        if loss == "ban":
            columns |= {2: ["BAN-2"], 3: ["BAN-3"]}
    own = teacher in (None, row)
    for table in tables:
        keys = {each.key for each in table.rows}
        for column in columns.get(generation, ()):
            key = row
            if table is paper.BAN_4 and row == "densenet-90-60":
                key = "teacher" if generation == 0 else ""
            dense = table is paper.BAN_4 or (table is paper.BAN_5 and generation)
            if dense and teacher not in (None, "densenet-90-60", row):
                continue
            if (own or dense) and key in keys and column in table.columns:
                yield Place(table.name, key, column)
    if (row, dataset, label) == ("densenet-90-60", "cifar100", "BAN") and not own:
        if teacher in {each.key for each in paper.BAN_3.rows}:
            yield Place(paper.BAN_3.name, teacher, "Dense-90-60")


def _language_model(results: dict[str, Any]) -> list[Place]:
    """Table 6: the teacher, or the first student, of the paper's size."""
    if results.get("size") != "paper":
        raise NoPlace("the paper's language models have --size paper")
    generation = results.get("generation", 0)
    if generation not in (0, 1):
        raise NoPlace(f"Table 6 ends at generation 1, this is {generation}")
    who = ("Teacher", "BAN")[generation]
    return [
        Place(
            paper.BAN_6.name, results["arch"], f"{who} {split}", f"{split}_perplexity"
        )
        for split in ("val", "test")
    ]
