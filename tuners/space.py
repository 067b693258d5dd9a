"""A space: a box of hyperparameters and the recipe of each of its points."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras_tuner
import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.recipes import base

Value = float | int
Values = Mapping[str, Value]

# KerasTuner's messages between machines hold single precision, a little more.
_DIGITS = 6


@dataclass(frozen=True)
class Dimension:
    """One side of the box, both ends included; `whole` numbers are whole.

    `log` says that it is searched on a log scale. `fixed` is the value of a dimension
    that is not searched.
    """

    name: str
    low: Value
    high: Value
    log: bool = False
    whole: bool = False
    fixed: Value | None = None

    @property
    def middle(self) -> Value:
        """Half way between the ends, on the dimension's own scale."""
        if self.fixed is not None:
            return self.fixed
        if self.log:
            return self.kept((self.low * self.high) ** 0.5)
        return self.kept((self.low + self.high) / 2)

    def kept(self, value: Value) -> Value:
        """The value as recipes and tables have it: six digits, inside the range."""
        # Rounded to single precision first, so that a value which has been through
        # a message gives the same digits as one that has not.
        single = np.float32(value)
        value = round(value) if self.whole else float(f"{single:.{_DIGITS}g}")
        return min(max(value, self.low), self.high)

    def to_json(self) -> dict[str, Any]:
        """What `trials.json` and a printed space tell of it."""
        return {
            "name": self.name,
            "kind": "int" if self.whole else "float",
            "low": self.low,
            "high": self.high,
            "scale": "log" if self.log else "linear",
            "fixed": self.fixed,
        }


@dataclass(frozen=True)
class Space:
    """A box of hyperparameters and the recipe of each of its points.

    `effective_rate` names the learning rate and its momentum, if those are among the
    dimensions: what an oracle may know about how they act together.
    """

    dimensions: tuple[Dimension, ...]
    make: Callable[[dict[str, Value]], base.Recipe]
    effective_rate: tuple[str, str] | None = None

    @property
    def free(self) -> tuple[Dimension, ...]:
        """The dimensions that are searched."""
        return tuple(d for d in self.dimensions if d.fixed is None)

    @property
    def middle(self) -> dict[str, Value]:
        """The centre of the box."""
        return {d.name: d.middle for d in self.free}

    def values(self, point: Values) -> dict[str, Value]:
        """All dimensions' values at a point that names the free ones."""
        return {
            d.name: d.kept(point[d.name]) if d.fixed is None else d.fixed
            for d in self.dimensions
        }

    def recipe(self, point: Values) -> base.Recipe:
        """The recipe at a point; equal points have equal recipes."""
        return self.make(self.values(point))

    def fix(self, pins: Mapping[str, Value]) -> "Space":
        """The space with these dimensions held at one value.

        Raises:
            UserError: a dimension that is not there, or a value outside its range.
        """
        dimensions = {d.name: d for d in self.dimensions}
        for name, value in pins.items():
            _check_pin(dimensions, name, value)
            kept = dimensions[name].kept(value)
            dimensions[name] = replace(dimensions[name], fixed=kept)
        return replace(self, dimensions=tuple(dimensions.values()))

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """The free dimensions in KerasTuner's words."""
        declared = keras_tuner.HyperParameters()
        for d in self.free:
            if d.whole:
                declared.Int(d.name, int(d.low), int(d.high), default=d.middle)
                continue
            scale = "log" if d.log else "linear"
            declared.Float(d.name, d.low, d.high, sampling=scale, default=d.middle)
        return declared

    def to_json(self) -> list[dict[str, Any]]:
        """Its dimensions, in order."""
        return [d.to_json() for d in self.dimensions]


def parse_pins(texts: Sequence[str]) -> dict[str, float]:
    """Reads `fix` options, each "name=value"; UserError names one that is not."""
    pins: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            raise UserError(
                f"`fix` {text!r} is not understood; expected name=value, such as "
                "learning_rate=0.01"
            ) from None
        if name in pins:
            raise UserError(f"`fix` names {name} twice; give it once")
        pins[name] = value
    return pins


def _check_pin(dimensions: Mapping[str, Dimension], name: str, value: Value) -> None:
    if name not in dimensions:
        near = difflib.get_close_matches(name, dimensions, n=1, cutoff=0)
        raise UserError(
            f"`fix` {name}: the space has no such dimension; did you mean {near[0]}? "
            f"It has {', '.join(dimensions)}"
        )
    dimension = dimensions[name]
    if not dimension.low <= value <= dimension.high:
        raise UserError(
            f"`fix` {name}={value:g} is out of range; expected {dimension.low:g} to "
            f"{dimension.high:g}"
        )
    if dimension.whole and value != round(value):
        raise UserError(f"`fix` {name}={value:g}: expected a whole number")
