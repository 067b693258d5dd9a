"""Networks of the second paper as sizes (docs/papers/born-again.md).

Each holds what its layers need and nothing else, so that a depth that is no whole
number of units cannot be written down; `born_again.architecture` reads names.
"""

from dataclasses import dataclass
from typing import Literal

STAGES = 3


@dataclass(frozen=True)
class WideResNet:
    """Wide-ResNet of 3 stages of pre-activation units, 16, 32 and 64 times `width`.

    Attributes:
        units: in each stage; the depth is 6 units + 4.
        width: the k of the name.
        dropout_rate: between the two convolutions of a unit.
        weight_decay: lambda of the penalty lambda/2 * sum(w^2) on every weight.
    """

    units: int
    width: int
    dropout_rate: float = 0.3
    weight_decay: float = 5e-4


@dataclass(frozen=True)
class DenseNet:
    """DenseNet-BC of 3 blocks, with a transition after the first two or all.

    Attributes:
        stem: filters of the first convolution.
        growths: per block, channels that each of its units adds; a unit's 1x1
            convolution has four times as many filters.
        transitions: filters of the 1x1 convolution after each block; two (the
            standard form) or three (the paper's larger networks).
        weight_decay: lambda of the penalty lambda/2 * sum(w^2) on every weight.
    """

    stem: int
    growths: tuple[tuple[int, ...], ...]
    transitions: tuple[int, ...]
    weight_decay: float = 5e-4

    @property
    def block_outputs(self) -> tuple[int, ...]:
        """Channels at the end of each block."""
        inputs = (self.stem, *self.transitions)
        return tuple(
            start + sum(growth)
            for start, growth in zip(inputs, self.growths, strict=False)
        )


@dataclass(frozen=True)
class BanResNet:
    """Table 5's residual student of a DenseNet: its first and last layer are frozen.

    Attributes:
        kind: "wide" has units of two 3x3 convolutions, "pre" bottleneck units.
        units: in each stage.
        ratio: of a unit's width to the teacher's (to a quarter of it for "pre").
        stem: filters of the teacher's first convolution.
        sizes: channels at the end of each stage, the teacher's after its transitions.
        weight_decay: lambda of the penalty lambda/2 * sum(w^2) on every weight.
    """

    kind: Literal["wide", "pre"]
    units: int
    ratio: float
    stem: int = 120
    sizes: tuple[int, int, int] = (480, 660, 750)
    weight_decay: float = 5e-4


Architecture = WideResNet | DenseNet | BanResNet


@dataclass(frozen=True)
class Lstm:
    """Words -> tied embedding -> LSTM layers -> words.

    Attributes:
        units: of the embedding and of every layer.
        layers: of LSTM.
        dropout_rate: on the embedding, between layers and before the output.
    """

    units: int
    layers: int
    dropout_rate: float


@dataclass(frozen=True)
class CharCnnLstm:
    """Characters of a word -> convolutions -> highways -> LSTM layers -> words.

    Attributes:
        character_units: size of a character's embedding.
        kernels: widths of the convolutions, in characters.
        filters: of each width; their sum is a word's size.
        highways: layers between the convolutions and the LSTM.
        units: of every LSTM layer.
        layers: of LSTM.
        dropout_rate: between LSTM layers and before the output.
    """

    character_units: int
    kernels: tuple[int, ...]
    filters: tuple[int, ...]
    highways: int
    units: int
    layers: int
    dropout_rate: float


LanguageNetwork = Lstm | CharCnnLstm
