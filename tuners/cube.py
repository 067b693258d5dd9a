"""A KerasTuner search space as a unit cube, and back.

A point has one *position* in [0, 1] for each hyperparameter, Fixed ones included. What
the Gaussian process sees are *columns*: positions of ordered hyperparameters, a
one-hot group for each unordered choice, nothing for those with a single value; in the
place of a momentum, if that is wanted, the effective rate.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as kinds

from tuners.effective_rate import EffectiveRate

INACTIVE = 0.5  # where an inactive hyperparameter stands, so that it counts for nothing
MAX_TABLE = 512  # values; with more of them, a hyperparameter passes for continuous
MAX_HELD = 16  # values; with more of them, positions are moved along a gradient
ONE_HOT = np.sqrt(0.5)  # two different choices are 1 apart


@dataclasses.dataclass(frozen=True)
class Axis:
    """One hyperparameter; centres [V] are the positions of its values, all of them,
    or None if it is continuous."""

    hyperparameter: kinds.HyperParameter
    centres: np.ndarray | None

    @classmethod
    def of(cls, hyperparameter: kinds.HyperParameter) -> "Axis":
        return cls(hyperparameter, _centres(hyperparameter))

    @functools.cached_property
    def values(self) -> list:
        """At the centres, in their order."""
        return [self.hyperparameter.prob_to_value(at) for at in self.centres.tolist()]

    @property
    def count(self) -> float:
        return np.inf if self.centres is None else len(self.centres)

    @property
    def one_hot(self) -> bool:
        unordered = isinstance(self.hyperparameter, kinds.Choice)
        return unordered and not self.hyperparameter.ordered and self.count > 2

    @property
    def width(self) -> int:
        """How many columns it has."""
        return 0 if self.count == 1 else self.count if self.one_hot else 1

    @property
    def moves(self) -> bool:
        """Whether its column may be moved along a gradient."""
        return not self.one_hot and self.count > MAX_HELD

    def index(self, positions: np.ndarray) -> np.ndarray:
        """Of the value at each position [M], int [M]."""
        if self.one_hot:  # categories have no neighbours to be rounded to
            cells = np.floor(positions * self.count).astype(int)
            return np.minimum(cells, self.count - 1)
        return np.searchsorted((self.centres[1:] + self.centres[:-1]) / 2, positions)

    def snapped(self, positions: np.ndarray) -> np.ndarray:
        """Positions [M] that stand for values."""
        if self.centres is None:
            return positions
        return self.centres[self.index(positions)]

    def value(self, position: float) -> Any:
        """The hyperparameter's value at a position, within its range."""
        if self.centres is not None:
            return self.values[int(self.index(np.array([position]))[0])]
        kind = self.hyperparameter
        value = kind.prob_to_value(float(position))
        return min(max(value, kind.min_value), kind.max_value)

    def position(self, value: Any) -> float:
        """Where a value stands; one that is no longer in the space: its default."""
        if self.centres is None:
            return min(max(float(self.hyperparameter.value_to_prob(value)), 0.0), 1.0)
        if value in self.values:
            return float(self.centres[self.values.index(value)])
        if isinstance(value, int | float) and not isinstance(self.values[0], str):
            away = np.abs(np.array(self.values, float) - value)
            return float(self.centres[np.argmin(away)])
        return self.position(self.hyperparameter.default)


def _centres(kind: kinds.HyperParameter) -> np.ndarray | None:
    if isinstance(kind, kinds.Fixed):
        return np.array([0.5])
    if isinstance(kind, kinds.Boolean):
        return np.array([0.25, 0.75])
    if isinstance(kind, kinds.Choice):
        count = len(kind.values)
    elif kind.min_value == kind.max_value:
        count = 1
    elif kind.step is not None:
        # Its own count, since prob_to_value divides by it; `values` would list them.
        count = kind._get_n_values()
    elif isinstance(kind, kinds.Float):
        return None
    else:
        # Whole numbers on a log scale; the cells differ in size.
        low, high = kind.min_value, kind.max_value
        if high - low >= MAX_TABLE:
            return None
        return np.array([kind.value_to_prob(value) for value in range(low, high + 1)])
    return None if count > MAX_TABLE else (np.arange(count) + 0.5) / count


@dataclasses.dataclass(frozen=True)
class Cube:
    """The whole space; parents stand before the axes that depend on them.

    `effective_rate` names the axes of a learning rate and of its momentum. While both
    are searched, the momentum's column holds their effective rate.
    """

    axes: tuple[Axis, ...]
    effective_rate: tuple[str, str] | None = None

    @classmethod
    def of(
        cls,
        hyperparameters: keras_tuner.HyperParameters,
        *,
        effective_rate: tuple[str, str] | None = None,
    ) -> "Cube":
        """UserError where the two have no effective rate."""
        cube = cls(tuple(map(Axis.of, hyperparameters.space)), effective_rate)
        _ = cube._rate
        return cube

    @functools.cached_property
    def names(self) -> list[str]:
        """Of each group of columns."""
        names = [axis.hyperparameter.name for axis in self.axes if axis.width]
        if self._rate is None:
            return names
        replaced = self._rate.momentum.name
        return [self._rate.name if name == replaced else name for name in names]

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """Which axis with columns each column belongs to, counted from 0; int [C]."""
        widths = [axis.width for axis in self.axes if axis.width]
        return np.repeat(np.arange(len(widths)), widths)

    @functools.cached_property
    def moving(self) -> list[tuple[int, int]]:
        """(axis, its column) for each axis that may be moved along a gradient."""
        pairs = enumerate(self._first_columns)
        return [(axis, column) for axis, column in pairs if self.axes[axis].moves]

    @functools.cached_property
    def _first_columns(self) -> list[int]:
        return np.cumsum([0, *(axis.width for axis in self.axes)])[:-1].tolist()

    @functools.cached_property
    def _pair(self) -> tuple[int, int] | None:
        """The axes of the learning rate and of the momentum, if both are searched and
        no condition lets several share a name."""
        numbers = [
            number
            for name in self.effective_rate or ()
            for number, axis in enumerate(self.axes)
            if axis.hyperparameter.name == name and axis.width
        ]
        return tuple(numbers) if len(numbers) == 2 else None

    @functools.cached_property
    def _rate(self) -> EffectiveRate | None:
        if self._pair is None:
            return None
        return EffectiveRate(*(self.axes[n].hyperparameter for n in self._pair))

    def snap(self, positions: np.ndarray) -> np.ndarray:
        """Positions [M, A] that stand for values, inactive ones at one place."""
        return self._snap(positions)[0]

    def active(self, positions: np.ndarray) -> np.ndarray:
        """Which axes count at positions [M, A]; bool [M, A]."""
        return self._snap(positions)[1]

    def _snap(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        snapped = np.empty(positions.shape)
        active = np.ones(positions.shape, bool)
        for number, axis in enumerate(self.axes):
            for condition in axis.hyperparameter.conditions:
                active[:, number] &= self._met(condition, snapped, active, number)
            own = axis.snapped(positions[:, number])
            snapped[:, number] = np.where(active[:, number], own, INACTIVE)
        return snapped, active

    def _met(
        self, condition: Any, snapped: np.ndarray, active: np.ndarray, before: int
    ) -> np.ndarray:
        """Whether rows meet a condition on an axis before number `before`; bool [M]."""
        met = np.zeros(len(snapped), bool)
        for number, parent in enumerate(self.axes[:before]):
            if parent.hyperparameter.name != condition.name:
                continue
            places, inverse = np.unique(snapped[:, number], return_inverse=True)
            allowed = [
                condition.is_active({condition.name: parent.value(place)})
                for place in places
            ]
            met |= active[:, number] & np.array(allowed, bool)[inverse]
        return met

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """What the Gaussian process sees of snapped positions: [M, A] -> [M, C]."""
        parts = [np.empty((len(positions), 0))]
        for number, axis in enumerate(self.axes):
            if axis.one_hot:
                chosen = axis.index(positions[:, number])
                parts.append(ONE_HOT * np.eye(axis.count)[chosen])
            elif axis.width:
                parts.append(positions[:, [number]])
        columns = np.concatenate(parts, axis=1)
        self.refresh(columns, positions)
        return columns

    def refresh(self, columns: np.ndarray, positions: np.ndarray) -> None:
        """Puts the effective rate at positions [M, A] into columns [M, C]."""
        if self._rate is not None:
            rate, momentum = (positions[:, number] for number in self._pair)
            column = self._first_columns[self._pair[1]]
            columns[:, column] = self._rate.column(rate, momentum)

    def pulled_back(self, gradients: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Gradients by columns [M, C], by the positions [M, A] of axes that move."""
        pulled = np.zeros(positions.shape)
        for axis, column in self.moving:
            pulled[:, axis] = gradients[:, column]
        if self._rate is not None:
            rate, momentum = self._pair
            by_rate, by_momentum = self._rate.slopes(
                positions[:, rate], positions[:, momentum]
            )
            pulled[:, rate] += by_rate * pulled[:, momentum]
            pulled[:, momentum] *= by_momentum
        return pulled

    def neighbours(self, positions: np.ndarray) -> np.ndarray:
        """Rows that differ from positions [A] in the value of one axis that does not
        move along gradients; [K, A], snapped."""
        rows = [positions]
        for number, axis in enumerate(self.axes):
            if axis.moves or not axis.width:
                continue
            for centre in axis.centres:
                rows.append(positions.copy())
                rows[-1][number] = centre
        return self.snap(np.array(rows))

    def values(self, positions: np.ndarray) -> dict[str, Any]:
        """The active hyperparameters' values at snapped positions [A]."""
        space = keras_tuner.HyperParameters()
        for axis, position in zip(self.axes, positions, strict=True):
            space.merge([axis.hyperparameter])
            if space.is_active(axis.hyperparameter):
                space.values[axis.hyperparameter.name] = axis.value(position)
        return space.values

    def positions(self, trials: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Of the values that trials had; a hyperparameter that came later had its
        default. [len(trials), A]"""
        rows = np.full((len(trials), len(self.axes)), INACTIVE)
        for row, given in zip(rows, trials, strict=True):
            values = dict(given)
            for number, axis in enumerate(self.axes):
                kind = axis.hyperparameter
                if all(condition.is_active(values) for condition in kind.conditions):
                    values.setdefault(kind.name, kind.default)
                    row[number] = axis.position(values[kind.name])
        return rows
