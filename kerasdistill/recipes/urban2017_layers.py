"""Layers of Urban's networks, and of the fast teacher's.

`at` is a `rows.Rows`, which writes the layers down, or a `models.layers.Urban`, which
builds them.
"""

from typing import Any

from kerasdistill.budget import POOLED_AFTER, ImageShape, flat_pixels
from kerasdistill.errors import UserError
from kerasdistill.recipes.base import CnnTeacher, FastTeacher, Student
from kerasdistill.recipes.rows import Rows

PATCH = 2  # side of the patches that the fast teacher whitens


def cnn_teacher(at: Any, network: CnnTeacher, num_classes: int) -> None:
    """c^2-mp-c^2-mp-c^4-mp-fc^2-logits (docs/papers/urban2017.md).

    3x3 convolutions, 2x2 max pooling, dropout after each pooling and each fully
    connected layer. The three published ones have 5,339,350, 2,453,729 and 5,823,101
    parameters on CIFAR-10.
    """
    rates = iter(network.dropout_rates)
    at.standardize()
    blocks = zip((2, 2, 4), network.filters, strict=True)
    for block, (count, filters) in enumerate(blocks, start=1):
        for index in range(1, count + 1):
            at.conv_relu(f"conv_{block}_{index}", filters, 3)
        at.max_pool(f"pool_{block}")
        at.dropout(f"dropout_{block}", next(rates))
    at.flatten()
    for index in (1, 2):
        at.dense(f"dense_{index}", network.dense, "relu")
        at.dropout(f"dropout_{3 + index}", next(rates))
    at.logits(num_classes)


def student(at: Any, network: Student, num_classes: int) -> None:
    """Layers in the order of the table in docs/papers/urban2017.md.

    Without convolutions: [bottleneck] - fc x L - logits; with one: c-mp-bottleneck-
    fc-logits; with two to four: c-mp-c-mp, c-mp-c-mp-c-mp or c-mp-c-c-mp-c-mp, then
    fc-logits. The bottleneck is linear.

    Raises:
        UserError: the architecture breaks the paper's rules or the image is too
            small for its poolings.
    """
    _check(network, at.shape)
    at.standardize(network.input_scale)
    pooled_after = POOLED_AFTER[len(network.filters)]
    for index, filters in enumerate(network.filters, start=1):
        at.conv_relu(f"conv_{index}", filters, network.kernel)
        if index in pooled_after:
            number = 1 + pooled_after.index(index)
            at.max_pool(f"pool_{number}", network.pool, network.pool_stride)
            if network.dropout_rates:
                at.dropout(f"dropout_{number}", network.dropout_rates[number - 1])
    at.flatten()
    if network.bottleneck is not None:
        at.dense("bottleneck", network.bottleneck)
    for index, units in enumerate(network.hidden, start=1):
        at.dense(f"dense_{index}", units, "relu")
        if network.dropout_rates:
            at.dropout(f"dropout_dense_{index}", network.dropout_rates[-1])
    at.logits(num_classes)


def _check(network: Student, image_shape: ImageShape) -> None:
    convs, hidden = len(network.filters), len(network.hidden)
    flat_pixels(image_shape, convs=convs, pool=network.pool)
    if hidden < 1 or (convs and hidden > 1):
        raise UserError(
            f"a student with {convs} convolutions has {hidden} hidden layers; "
            "expected 1, or 1 to 5 without convolutions"
        )
    if network.bottleneck is not None and convs > 1:
        raise UserError(
            f"a student with {convs} convolutions has a bottleneck; expected none "
            "(set bottleneck to null) with more than one convolution"
        )
    rates, expected = len(network.dropout_rates), len(POOLED_AFTER[convs]) + 1
    if rates not in (0, expected):
        raise UserError(
            f"a student with {convs} convolutions has {rates} dropout rates; "
            f"expected none or {expected}: one after each pooling, one after the "
            "hidden layers"
        )


def fast_teacher(at: Rows, network: FastTeacher, num_classes: int) -> None:
    """Rows alone: `models.fast_teacher` builds it, from the images it is to see."""
    at.layer("normalise", "Normalization")
    height, width, channels = at.shape
    patches = (height - PATCH + 1, width - PATCH + 1)
    at.layer("whiten", "Conv2D", (*patches, 2 * PATCH**2 * channels))
    at.layer("whiten_gelu", "Activation")
    for block, filters in enumerate(network.filters, start=1):
        for index in (1, 2):
            name = f"conv_{block}_{index}"
            at.conv(name, filters, 3)
            if index == 1:
                at.max_pool(f"{name}_pool")
            at.layer(f"{name}_bn", "BatchNormalization", count=filters)
            at.layer(f"{name}_gelu", "Activation")
    features = at.shape[-1]
    at.layer("pool", "GlobalMaxPooling2D", (features,))
    at.layer("logits", "Dense", (num_classes,), features * num_classes)
