"""Layers of Urban's networks, and of the fast teacher's."""

from kerasdistill.budget import POOLED_AFTER, ImageShape
from kerasdistill.recipes.base import CnnTeacher, FastTeacher, Student
from kerasdistill.recipes.rows import Row, Rows

PATCH = 2  # side of the patches that the fast teacher whitens


def cnn_teacher(
    network: CnnTeacher, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("standardize", "LayerNormalization")
    blocks = zip((2, 2, 4), network.filters, strict=True)
    for block, (count, filters) in enumerate(blocks, start=1):
        for index in range(1, count + 1):
            at.conv(f"conv_{block}_{index}", filters, 3, bias=True)
        at.pool(f"pool_{block}", "MaxPooling2D")
        at.add(f"dropout_{block}", "Dropout")
    at.flatten()
    for index in (1, 2):
        at.dense(f"dense_{index}", network.dense)
        at.add(f"dropout_{3 + index}", "Dropout")
    at.dense("logits", num_classes)
    return at.rows


def fast_teacher(
    network: FastTeacher, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("normalise", "Normalization")
    height, width, channels = image_shape
    patches = (height - PATCH + 1, width - PATCH + 1)
    at.add("whiten", "Conv2D", (*patches, 2 * PATCH**2 * channels))
    at.add("whiten_gelu", "Activation")
    for block, filters in enumerate(network.filters, start=1):
        for index in (1, 2):
            name = f"conv_{block}_{index}"
            at.conv(name, filters, 3)
            if index == 1:
                at.pool(f"{name}_pool", "MaxPooling2D")
            at.add(f"{name}_bn", "BatchNormalization", count=filters)
            at.add(f"{name}_gelu", "Activation")
    features = at.shape[-1]
    at.add("pool", "GlobalMaxPooling2D", (features,))
    at.add("logits", "Dense", (num_classes,), features * num_classes)
    return at.rows


def student(
    network: Student, *, image_shape: ImageShape, num_classes: int
) -> list[Row]:
    at = Rows(image_shape)
    at.add("standardize", "LayerNormalization")
    if network.input_scale != 1.0:
        at.add("input_scale", "Rescaling")
    pooled_after = POOLED_AFTER[len(network.filters)]
    for index, filters in enumerate(network.filters, start=1):
        at.conv(f"conv_{index}", filters, network.kernel, bias=True)
        if index in pooled_after:
            number = 1 + pooled_after.index(index)
            stride = network.pool_stride or 0
            at.pool(f"pool_{number}", "MaxPooling2D", size=network.pool, stride=stride)
            if network.dropout_rates:
                at.add(f"dropout_{number}", "Dropout")
    at.flatten()
    if network.bottleneck is not None:
        at.dense("bottleneck", network.bottleneck)
    for index, units in enumerate(network.hidden, start=1):
        at.dense(f"dense_{index}", units)
        if network.dropout_rates:
            at.add(f"dropout_dense_{index}", "Dropout")
    at.dense("logits", num_classes)
    return at.rows
