"""Layers of the second paper's networks on images."""

from kerasdistill.budget import ImageShape
from kerasdistill.recipes.architectures import STAGES, BanResNet, DenseNet, WideResNet
from kerasdistill.recipes.rows import Row, Rows

STEM = 16  # filters of a Wide-ResNet's first convolution
BOTTLENECK = 4  # filters of a DenseNet unit's 1x1 convolution, in growths


def _wide_unit(
    at: Rows, filters: int, *, name: str, strides: int = 1, rate: float = 0.0
) -> None:
    before = at.shape
    at.norm_relu(f"{name}_1")
    at.conv(f"{name}_conv_1", filters, 3, strides=strides)
    at.norm_relu(f"{name}_2")
    if rate:
        at.add(f"{name}_dropout", "Dropout")
    at.conv(f"{name}_conv_2", filters, 3)
    _joined(at, before, filters, name=name, strides=strides)


def _joined(
    at: Rows, before: tuple, filters: int, *, name: str, strides: int = 1
) -> None:
    """The end of a residual unit: Keras lists its shortcut, if any, before the sum."""
    if before[-1] != filters:
        at.shape = before
        at.conv(f"{name}_shortcut", filters, 1, strides=strides)
    at.add(name, "Add")


def _transition(at: Rows, filters: int, *, name: str) -> None:
    at.norm_relu(name)
    at.conv(f"{name}_conv", filters, 1)


def wide_resnet(
    network: WideResNet, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("normalize", "Rescaling")
    at.conv("conv_1", STEM, 3)
    for stage in range(1, STAGES + 1):
        filters = STEM * network.width * 2 ** (stage - 1)
        for unit in range(1, network.units + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            name, rate = f"unit_{stage}_{unit}", network.dropout_rate
            _wide_unit(at, filters, name=name, strides=strides, rate=rate)
    return at.logits(num_classes)


def densenet(
    network: DenseNet, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("normalize", "Rescaling")
    at.conv("conv_1", network.stem, 3)
    for block, growths in enumerate(network.growths, start=1):
        for unit, growth in enumerate(growths, start=1):
            name, (height, width, channels) = f"unit_{block}_{unit}", at.shape
            at.norm_relu(f"{name}_1")
            at.conv(f"{name}_conv_1", BOTTLENECK * growth, 1)
            at.norm_relu(f"{name}_2")
            at.conv(f"{name}_conv_2", growth, 3)
            at.add(name, "Concatenate", (height, width, channels + growth))
        if block <= len(network.transitions):
            filters = network.transitions[block - 1]
            _transition(at, filters, name=f"transition_{block}")
        if block < len(network.growths):
            at.pool(f"pool_{block}", "AveragePooling2D")
    return at.logits(num_classes)


def ban_resnet(
    network: BanResNet, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("normalize", "Rescaling")
    at.conv("conv_1", network.stem, 3, trainable=False)
    for stage, size in enumerate(network.sizes, start=1):
        for unit in range(1, network.units + 1):
            name = f"unit_{stage}_{unit}"
            if network.kind == "wide":
                _wide_unit(at, int(network.ratio * size), name=name)
            else:
                _pre_unit(at, int(network.ratio * size / 4), size, name=name)
        if network.kind == "wide":
            _transition(at, size, name=f"transition_{stage}")
        if stage < len(network.sizes):
            at.pool(f"pool_{stage}", "AveragePooling2D")
    return at.logits(num_classes, trainable=False)


def _pre_unit(at: Rows, filters: int, size: int, *, name: str) -> None:
    before = at.shape
    at.norm_relu(f"{name}_1")
    at.conv(f"{name}_conv_1", filters, 1)
    at.norm_relu(f"{name}_2")
    at.conv(f"{name}_conv_2", filters, 3)
    at.norm_relu(f"{name}_3")
    at.conv(f"{name}_conv_3", size, 1)
    _joined(at, before, size, name=name)
