"""The orderings that the first paper claims in its results, checked on any numbers."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kerasdistill.reports import paper

Values = Callable[[str, str, str], float | None]  # table, row, column -> percent

HELD, NOT_HELD, NOT_MEASURED = "held", "not held", "not measured"
_GAP = 10.0  # points between any convolutional student and any MLP
_CONVS = [key for key in paper.FAMILIES if key.startswith("convs")]
_MLPS = [key for key in paper.FAMILIES if key.startswith("hidden")]
_MIDDLE = ("hidden-2", "hidden-3")


@dataclass(frozen=True)
class Comparison:
    """One pair: `better` should exceed `worse` by more than `margin` points, or, with
    `equal`, may be as large. Ends are (table, row, column)."""

    better: tuple[str, str, str]
    worse: tuple[str, str, str]
    margin: float = 0.0
    equal: bool = False

    def holds(self, values: Values) -> bool | None:
        """None where one of the two is not known."""
        better, worse = values(*self.better), values(*self.worse)
        if better is None or worse is None:
            return None
        # Percents of two decimals: what differs by less is rounding.
        difference = round(better - worse - self.margin, 6)
        return difference >= 0 if self.equal else difference > 0


def check(values: Values) -> list[dict[str, Any]]:
    """Every ordering: `claim`, `status`, how many pairs were compared and failed, and
    the `cells` compared.

    An ordering is held if all pairs that are known hold, and not measured if none is;
    of "2 or 3 layers are best", a budget counts once both sides are known.
    """
    checked = []
    for claim, groups in CLAIMS.items():
        results = [_any(group, values) for group in groups]
        pairs = list(zip(groups, results, strict=True))
        compared = [group for group, holds in pairs if holds is not None]
        failed = [_named(group[0], values) for group, holds in pairs if holds is False]
        status = (NOT_HELD if failed else HELD) if compared else NOT_MEASURED
        ends = {end for pair in sum(compared, []) for end in (pair.better, pair.worse)}
        checked.append(
            {
                "claim": claim,
                "status": status,
                "compared": len(compared),
                "comparisons": len(groups),
                "failed": failed,
                "cells": sorted(ends),
            }
        )
    return checked


def _any(group: list[Comparison], values: Values) -> bool | None:
    """Whether one of the alternatives holds; None while that is open."""
    results = [each.holds(values) for each in group]
    if True in results:
        return True
    return None if None in results else False


def _named(pair: Comparison, values: Values) -> str:
    numbers = f"{values(*pair.better):.2f} against {values(*pair.worse):.2f}"
    return f"{_end(*pair.better)} and {_end(*pair.worse)}: {numbers}"


def _end(table: str, row: str, column: str) -> str:
    on = f"at {column}" if table == paper.URBAN_2.name else "on 0/1 labels"
    return f"{paper.FAMILIES[row]} {on}"


def _student(row: str, column: str) -> tuple[str, str, str]:
    return paper.URBAN_2.name, row, column


# Claim -> groups of alternatives, of each of which one has to hold.
CLAIMS = {
    "Any convolutional student beats any MLP of the same budget by more than 10 "
    "points": [
        [Comparison(_student(conv, budget), _student(mlp, budget), _GAP)]
        for budget, conv, mlp in itertools.product(paper.BUDGETS, _CONVS, _MLPS)
    ],
    "Among MLPs of 3.16M and more, 2 or 3 hidden layers are best": [
        [Comparison(_student(each, budget), _student(mlp, budget)) for each in _MIDDLE]
        for budget, mlp in itertools.product(list(paper.BUDGETS)[1:], _MLPS)
        if mlp not in _MIDDLE
    ],
    "2 convolutions at 1M beat 1 convolution at 31.6M": [
        [Comparison(_student("convs-2", "1M"), _student("convs-1", "31.6M"))]
    ],
    "Accuracy never falls as the budget grows": [
        [Comparison(_student(row, more), _student(row, less), equal=True)]
        for row in paper.FAMILIES
        for less, more in itertools.pairwise(paper.BUDGETS)
    ],
    "At 10M, logits beat 0/1 labels at every convolutional depth": [
        [Comparison(_student(row, "10M"), (paper.URBAN_1.name, row, *paper.ONE))]
        for row in _CONVS
    ],
}
