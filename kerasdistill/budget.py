"""Parameter budgets, and how many parameters a student's widths make.

The formulas are those of docs/papers/urban2017.md, for any image shape and class count.
A student is described by (filters, hidden, bottleneck) as in `recipes.base.Student`;
parameters are weights and biases of every layer, 10 logits (or num_classes) included.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from kerasdistill.errors import UserError

ImageShape = tuple[int, int, int]

# Convolutions (1-based) that a max pooling follows, by number of convolutions:
# c-mp, c-mp-c-mp, c-mp-c-mp-c-mp and c-mp-c-c-mp-c-mp (docs/papers/urban2017.md).
POOLED_AFTER = {0: (), 1: (1,), 2: (1, 2), 3: (1, 2, 3), 4: (1, 3, 4)}

_LARGEST = 10**12
_TEXT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(?:[eE]\+?(\d{1,2}))?([kKmM]?)")
_SUFFIXES = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True)
class Budget:
    """A target count of trainable parameters.

    Raises:
        UserError: the count is no whole number from 1 to 10**12.
    """

    num_params: int

    def __post_init__(self) -> None:
        if type(self.num_params) is not int or not 1 <= self.num_params <= _LARGEST:
            raise UserError(
                f"budget {self.num_params!r} is no whole number of parameters "
                f"from 1 to {_LARGEST}; give one such as 10M"
            )

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Reads "10M", "3.16M", "1e6", "250k" or "250000" as exactly that count."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise UserError(
                f"budget {text!r} is not understood; expected a count of parameters, "
                "plain or with k or M, such as 10M, 3.16M, 250k or 1e6"
            )
        digits, exponent, suffix = match.groups()
        count = Decimal(digits).scaleb(int(exponent or 0)) * _SUFFIXES[suffix.lower()]
        if count != int(count) or not 1 <= count <= _LARGEST:
            raise UserError(
                f"budget {text!r} is no whole number of parameters from 1 to "
                f"{_LARGEST}; expected one such as 10M or 250000"
            )
        return cls(int(count))

    def error(self, num_params: int) -> float:
        """(num_params - budget) / budget: 0.01 is one percent too many."""
        return (num_params - self.num_params) / self.num_params

    def __str__(self) -> str:
        return f"{self.num_params:,}"


PUBLISHED = tuple(map(Budget, (1_000_000, 3_160_000, 10_000_000, 31_600_000)))


def conv_params(channels: int, filters: int, *, kernel: int, bias: bool = True) -> int:
    """kernel^2 * channels * filters, and a bias for each filter."""
    return (kernel * kernel * channels + bias) * filters


def dense_params(inputs: int, units: int) -> int:
    """(inputs + 1) * units."""
    return (inputs + 1) * units


def convolution_params(filters: Sequence[int], *, kernel: int, channels: int) -> int:
    """sum_i (kernel^2 * f_{i-1} * f_i + f_i) with f_0 = channels."""
    return sum(
        conv_params(before, after, kernel=kernel)
        for before, after in zip((channels, *filters), filters, strict=False)
    )


def flat_pixels(image_shape: ImageShape, *, convs: int, pool: int) -> int:
    """Height times width of what the convolutions of a student hand to its top.

    Same-padded convolutions keep the size; each pooling has stride `pool` and drops
    the remainder.

    Raises:
        UserError: no such student, or the image is too small to be pooled so often.
    """
    if convs not in POOLED_AFTER:
        raise UserError(f"convs {convs} is not possible; expected 0 to 4, such as 3")
    factor = pool ** len(POOLED_AFTER[convs])
    height, width = image_shape[0] // factor, image_shape[1] // factor
    if height < 1 or width < 1:
        raise UserError(
            f"images {image_shape[0]}x{image_shape[1]} are too small for {convs} "
            f"convolutions; expected {factor}x{factor} pixels or more"
        )
    return height * width


def student_params(
    filters: Sequence[int],
    hidden: Sequence[int],
    bottleneck: int | None,
    *,
    kernel: int,
    pool: int,
    image_shape: ImageShape,
    num_classes: int,
) -> int:
    """Trainable parameters of a student; integer arrays as widths give an array.

    bottleneck and hidden widths may be 0 here: the count is linear in each of them,
    which is how a dependent width is solved.
    """
    pixels = flat_pixels(image_shape, convs=len(filters), pool=pool)
    count = convolution_params(filters, kernel=kernel, channels=image_shape[2])
    inputs = pixels * (filters[-1] if filters else image_shape[2])
    linear = () if bottleneck is None else (bottleneck,)
    for units in (*linear, *hidden, num_classes):
        count = count + dense_params(inputs, units)
        inputs = units
    return count


def hidden_widths(
    budget: Budget, *, ratios: Sequence[float], inputs: int, num_classes: int = 10
) -> tuple[int, ...]:
    """Widths w_i = u * r_i of an MLP's ReLU layers in the proportion of `ratios`.

    u = (-c + sqrt(c^2 + 4a(T-K))) / 2a with a = sum_{i<L} r_i r_{i+1} and
    c = (inputs+1) r_1 + sum_{i>=2} r_i + K r_L (for one layer u = (T-K) / c). Each
    width is rounded to nearest and at least 1. Only the proportions matter.

    Raises:
        UserError: the budget is below the count with one unit in each layer.
    """
    smallest = inputs + 1 + 2 * (len(ratios) - 1) + 2 * num_classes
    if budget.num_params < smallest:
        raise too_small(budget, smallest)
    a = sum(r * after for r, after in zip(ratios[:-1], ratios[1:], strict=True))
    c = (inputs + 1) * ratios[0] + sum(ratios[1:]) + num_classes * ratios[-1]
    # The root written so that it neither cancels nor divides by a = 0 (one layer).
    rest = budget.num_params - num_classes
    u = 2 * rest / (c + math.sqrt(c * c + 4 * a * rest))
    return tuple(max(1, round(u * ratio)) for ratio in ratios)


def too_small(budget: Budget, smallest: int) -> UserError:
    """The error for a budget under the smallest possible one."""
    return UserError(
        f"budget {budget.num_params} is too small for this model; the smallest "
        f"possible budget is {smallest}"
    )
