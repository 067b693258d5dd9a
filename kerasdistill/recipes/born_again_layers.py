"""Layers of the second paper's networks on images.

`at` is a `rows.Rows`, which writes the layers down, or a `models.layers.BornAgain`,
which builds them.
"""

from typing import Any

from kerasdistill.recipes.architectures import STAGES, BanResNet, DenseNet, WideResNet

STEM = 16  # filters of a Wide-ResNet's first convolution
BOTTLENECK = 4  # filters of a DenseNet unit's 1x1 convolution, in growths


def wide_resnet(at: Any, network: WideResNet, num_classes: int) -> None:
    """A 3x3 convolution of 16 filters, three stages of units, logits.

    Units are BN-ReLU-3x3-BN-ReLU-[dropout]-3x3; stages two and three begin with
    stride 2. Where the width changes, a 1x1 convolution of the activated input is
    the shortcut; Wide-ResNets of width 1 keep the identity in stage one.
    """
    at.normalize()
    at.conv("conv_1", STEM, 3)
    for stage in range(1, STAGES + 1):
        filters = STEM * network.width * 2 ** (stage - 1)
        for unit in range(1, network.units + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            name, rate = f"unit_{stage}_{unit}", network.dropout_rate
            _wide_unit(at, name, filters, strides=strides, rate=rate)
    at.normed_logits(num_classes)


def densenet(at: Any, network: DenseNet, num_classes: int) -> None:
    """A 3x3 convolution, three dense blocks with transitions, logits.

    A unit adds BN-ReLU-1x1-BN-ReLU-3x3 of all before it; a transition is
    BN-ReLU-1x1, followed by 2x2 average pooling where another block comes. (The
    paper's third transition has no block after it, and the mean over the image is
    the same with and without a pooling in between.)
    """
    at.normalize()
    at.conv("conv_1", network.stem, 3)
    for block, growths in enumerate(network.growths, start=1):
        for unit, growth in enumerate(growths, start=1):
            name, before = f"unit_{block}_{unit}", at.x
            at.norm_relu(f"{name}_1")
            at.conv(f"{name}_conv_1", BOTTLENECK * growth, 1)
            at.norm_relu(f"{name}_2")
            at.conv(f"{name}_conv_2", growth, 3)
            at.concatenate(name, before)
        if block <= len(network.transitions):
            _transition(at, f"transition_{block}", network.transitions[block - 1])
        if block < len(network.growths):
            at.average_pool(f"pool_{block}")
    at.normed_logits(num_classes)


def ban_resnet(at: Any, network: BanResNet, num_classes: int) -> None:
    """The teacher's first convolution, three residual stages, its classifier.

    First and last layer are frozen. A "wide" stage has units of its own width and a
    transition to the teacher's; a "pre" stage has bottleneck units at the teacher's
    width, the first of which projects its input. Stages one and two end in 2x2
    average pooling.
    """
    at.normalize()
    at.conv("conv_1", network.stem, 3, trainable=False)
    for stage, size in enumerate(network.sizes, start=1):
        for unit in range(1, network.units + 1):
            name = f"unit_{stage}_{unit}"
            if network.kind == "wide":
                _wide_unit(at, name, int(network.ratio * size))
            else:
                _pre_unit(at, name, int(network.ratio * size / 4), size)
        if network.kind == "wide":
            _transition(at, f"transition_{stage}", size)
        if stage < len(network.sizes):
            at.average_pool(f"pool_{stage}")
    at.normed_logits(num_classes, trainable=False)


def _transition(at: Any, name: str, filters: int) -> None:
    at.norm_relu(name)
    at.conv(f"{name}_conv", filters, 1)


def _wide_unit(
    at: Any, name: str, filters: int, *, strides: int = 1, rate: float = 0.0
) -> None:
    before = at.x
    at.norm_relu(f"{name}_1")
    active = at.x
    at.conv(f"{name}_conv_1", filters, 3, strides=strides)
    at.norm_relu(f"{name}_2")
    if rate:
        at.dropout(f"{name}_dropout", rate)
    at.conv(f"{name}_conv_2", filters, 3)
    _add(at, name, before, active, strides=strides)


def _pre_unit(at: Any, name: str, filters: int, size: int) -> None:
    before = at.x
    at.norm_relu(f"{name}_1")
    active = at.x
    at.conv(f"{name}_conv_1", filters, 1)
    at.norm_relu(f"{name}_2")
    at.conv(f"{name}_conv_2", filters, 3)
    at.norm_relu(f"{name}_3")
    at.conv(f"{name}_conv_3", size, 1)
    _add(at, name, before, active)


def _add(at: Any, name: str, before: Any, active: Any, *, strides: int = 1) -> None:
    """The unit's input is added, projected if the unit has changed the width."""
    unit, filters = at.x, at.shape[-1]
    at.x = before
    if at.shape[-1] != filters:
        at.x = active
        at.conv(f"{name}_shortcut", filters, 1, strides=strides)
    shortcut, at.x = at.x, unit
    at.add(name, shortcut)
