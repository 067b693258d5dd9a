"""A network in a few words, for plans, reports and lists."""

import typing
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.recipes import architectures, base, born_again, reading


def describe(network: Any) -> str:
    """Such as "65-65-65", "MLP 900-900", "MobileNetV2" or "wide-resnet-28-10"; the
    name of its type for a network without words of its own."""
    words = _WORDS.get(type(network))
    return words(network) if words else type(network).__name__


def describe_json(recipe: Any) -> str | None:
    """`describe` of what `base.to_json` made of a recipe; None if it is damaged.

    The architecture alone is read, so a training of another version does no harm.
    """
    try:
        hints = typing.get_type_hints(base.KINDS[recipe["kind"]])
        network = recipe["architecture"]
        return describe(reading.read(hints["architecture"], network, where="recipe"))
    except (UserError, LookupError, TypeError):
        return None


def _widths(values: Sequence[int]) -> str:
    return "-".join(map(str, values))


def _student(network: base.Student) -> str:
    if network.filters:
        return _widths(network.filters)
    return f"MLP {_widths(network.hidden)}"


def _born_again(network: architectures.Architecture) -> str:
    return born_again.name_of(network) or type(network).__name__


# An architecture's type -> its words.
_WORDS: dict[type, Callable[[Any], str]] = {
    base.CnnTeacher: lambda network: _widths(network.filters),
    base.FastTeacher: lambda network: _widths(network.filters),
    base.Student: _student,
    base.GivenNetwork: lambda given: PurePath(given.source.removeprefix("keras:")).name,
    architectures.WideResNet: _born_again,
    architectures.DenseNet: _born_again,
    architectures.BanResNet: _born_again,
    architectures.Lstm: lambda lstm: f"lstm {lstm.layers}x{lstm.units}",
    architectures.CharCnnLstm: lambda lstm: f"cnn-lstm {lstm.layers}x{lstm.units}",
}
