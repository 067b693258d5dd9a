"""The cells of the first paper's Tables 1 and 2 as command lines, and their costs."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kerasdistill.budget import Budget
from kerasdistill.recipes import fast, layers, urban2017
from kerasdistill.reports import paper

PASSES, FAST_EPOCHS = 160, 24
# Learning rates and momenta inside the paper's ranges; the first are the recipe's.
RATES = ((0.003, 0.9), (0.0055, 0.9), (0.01, 0.9), (0.016, 0.9), (0.003, 0.95))
RATES += ((0.0055, 0.95),)


@dataclass(frozen=True)
class Cell:
    """One command. `what` and `published` are the table's, `facts` are kept with its
    results; `cost` are the multiply-adds of an image, `epochs` the sweeps over them."""

    name: str
    words: Sequence[Any]
    what: str
    cost: float
    epochs: int = 0
    published: float | None = None
    facts: dict[str, Any] | None = None


@dataclass(frozen=True)
class Student:
    """A cell of Table 2, without a set of Table 1; a search has trials."""

    budget: str
    row: str
    passes: int
    set_path: str | None
    rates: tuple[float, float] | None = RATES[0]
    seed: int = 0
    trial: bool = False

    @property
    def group(self) -> tuple[str, str]:
        """Budget and kind of layers of a student."""
        return (self.budget * bool(self.set_path), self.row.split("-")[0])

    def cell(self) -> Cell:
        """Its command."""
        shape, count = self.row.split("-")
        verb = "student" if self.set_path else "baseline"
        name = f"{verb}-{self.budget}-{self.row}".lower()
        words = [verb, "--budget", self.budget, f"--{shape}", count]
        words += ["--seed", self.seed, *training(self.passes)]
        published, facts = None, {"seed": self.seed, "trial": self.trial}
        if self.set_path:
            rate, momentum = facts["rates"] = self.rates
            words += ["--learning-rate", rate, "--momentum", momentum]
            words += ["--distillation-set", self.set_path, "--passes", self.passes]
            name += f"-lr{rate:g}-m{momentum:g}" * (self.rates != RATES[0])
            if self.budget in paper.URBAN_2.columns:
                published = paper.URBAN_2.value(self.row, self.budget)
        elif self.budget == "10M":
            published = paper.URBAN_1.value(self.row, "accuracy")
        name += "-trial" * self.trial + f"-s{self.seed}" * (self.seed > 0)
        what = f"{paper.FAMILIES[self.row]}, {self.budget}"
        recipe = urban2017.student(
            budget=Budget.parse(self.budget), **{shape: int(count)}
        )
        cost = multiply_adds(recipe)
        return Cell(name, words, what, cost, self.passes, published, facts)


def multiply_adds(recipe: Any) -> float:
    """Of one image, forwards: each weight is used once at every place."""
    how = {"image_shape": urban2017.CIFAR_SHAPE, "num_classes": 10}
    rows = layers.table(recipe.architecture, **how)
    return sum(r["num_params"] * math.prod(r["output_shape"][:-1]) for r in rows)


def training(epochs: int) -> list[Any]:
    """The words of a training of a known length."""
    return ["--epochs", epochs, "--schedule", "cosine"]


def scaled(whole: int, scale: float) -> int:
    """So many epochs or passes, at least one."""
    return max(1, round(whole * scale))


def teachers(args: argparse.Namespace) -> list[Cell]:
    """Fast ones, and with --published the paper's three."""
    length, cost = scaled(FAST_EPOCHS, args.scale), multiply_adds(fast.teacher())
    words = ["teacher", "--fast", "--epochs", length, "--seed"]
    cells = [
        Cell(f"teacher-fast-s{n}", [*words, n], "fast teacher", cost, length)
        for n in range(args.teachers)
    ]
    names = {row.key: row.label for row in paper.URBAN_1.rows}
    length = scaled(PASSES, args.scale)
    for number, row in enumerate(paper.TEACHERS if args.published else (), start=1):
        words = ["teacher", "--published", number, *training(length)]
        cost = multiply_adds(urban2017.teacher(number))
        published = paper.URBAN_1.value(row, "accuracy")
        cells.append(Cell(row, words, names[row], cost, length, published))
    return cells
