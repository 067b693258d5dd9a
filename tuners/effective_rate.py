"""The effective rate of gradient descent with momentum: rate / (1 - momentum).

It is how far a step goes in the end. What becomes of a training depends on it far more
evenly than on the momentum itself, so a model of trainings needs fewer of them.
"""

import dataclasses
import functools

import numpy as np
from keras_tuner.engine import hyperparameters as kinds

from kerasdistill.errors import UserError


@dataclasses.dataclass(frozen=True)
class EffectiveRate:
    """log(rate / (1 - momentum)) from 0 to 1 over both ranges, as a function of the
    positions in [0, 1] of the two.

    Raises:
        UserError: the two are not floats without steps, the rate above 0 and the
            momentum below 1.
    """

    rate: kinds.Float
    momentum: kinds.Float

    def __post_init__(self) -> None:
        floats = [
            isinstance(kind, kinds.Float) and kind.step is None
            for kind in (self.rate, self.momentum)
        ]
        if not (all(floats) and self.rate.min_value > 0 > self.momentum.max_value - 1):
            raise UserError(
                f"{self.rate.name} and {self.momentum.name} have no effective rate; "
                "expected two floats without steps, the learning rate above 0 and the "
                "momentum below 1"
            )

    @property
    def name(self) -> str:
        return f"{self.rate.name}/(1-{self.momentum.name})"

    def column(self, rate: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        """At positions of both, elementwise."""
        low, high = self._ends
        return (self._log(rate, momentum) - low) / (high - low)

    def slopes(self, rate: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        """Derivatives of `column` by the positions, [2, ..]."""
        low, high = self._ends
        by_rate = _slope(self.rate, rate) / _value(self.rate, rate)
        left = 1 - _value(self.momentum, momentum)
        by_momentum = _slope(self.momentum, momentum) / left
        return np.array([by_rate, by_momentum]) / (high - low)

    @functools.cached_property
    def _ends(self) -> tuple[float, float]:
        return self._log(0.0, 0.0), self._log(1.0, 1.0)

    def _log(self, rate: np.ndarray, momentum: np.ndarray) -> np.ndarray:
        momentum = _value(self.momentum, momentum)
        return np.log(_value(self.rate, rate)) - np.log1p(-momentum)


# KerasTuner's `prob_to_value` takes one position at a time and has no derivative.
def _value(kind: kinds.Float, position: np.ndarray) -> np.ndarray:
    low, high = kind.min_value, kind.max_value
    if kind.sampling == "log":
        return low * (high / low) ** position
    if kind.sampling == "reverse_log":
        return high + low - low * (high / low) ** (1 - position)
    return low + (high - low) * position


def _slope(kind: kinds.Float, position: np.ndarray) -> np.ndarray:
    low, high = kind.min_value, kind.max_value
    if kind.sampling == "log":
        return np.log(high / low) * low * (high / low) ** position
    if kind.sampling == "reverse_log":
        return np.log(high / low) * low * (high / low) ** (1 - position)
    return np.full_like(position, high - low)
