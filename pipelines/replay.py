"""Views made again from their seeds, the same bits as those the teacher scored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError
from kerasdistill.recipes.base import Augmentation, CropAugmentation
from pipelines import augment, records
from pipelines.examples import Examples
from pipelines.manifest import Manifest


def replayer(
    path: Path, manifest: Manifest, train: Examples
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """The function that adds the image to a decoded block of a replay store.

    Args:
        path: the set's directory, for errors.
        manifest: how its views were made.
        train: the transfer set they were made from.

    Returns:
        Fields of `records.decode` -> the same and "image" uint8 [B, H, W, C]. Inside
        the graph it asserts that the pixels have the stored fingerprint.

    Raises:
        StaleArtifactError: another version of the augmentation's code.
    """
    if manifest.augmentation_code_version != augment.CODE_VERSION:
        raise StaleArtifactError(
            f"distillation set {path}: field augmentation_code_version is "
            f"{manifest.augmentation_code_version}, this version has "
            f"{augment.CODE_VERSION}; precompute again, or use the images store"
        )
    try:
        augmentation = augment.from_json(manifest.augmentation)
    except ValueError as error:
        raise StaleArtifactError(
            f"distillation set {path}: field augmentation is damaged ({error})"
        ) from error
    with tf.device("CPU:0"):
        images = tf.constant(train.images)
        order = tf.constant(np.argsort(train.sample_ids))
        sorted_ids = tf.gather(tf.constant(train.sample_ids), order)

    def replay(fields: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        rows = tf.gather(order, tf.searchsorted(sorted_ids, fields["sample_id"]))
        pixels = make_views(
            tf.gather(images, rows),
            fields["seeds"],
            augmentation=augmentation,
            block_views=manifest.block_views,
        )
        same = tf.reduce_all(
            records.pixel_fingerprint(pixels) == fields["pixel_fingerprint"]
        )
        message = (
            f"distillation set {path}: the views of this (pass, block), "
            "re-made from their seeds, differ from those the teacher scored "
            "(field pixel_fingerprint); precompute again"
        )
        where = [fields["pass_index"], fields["block_index"]]
        with tf.control_dependencies([tf.Assert(same, [message, *where])]):
            return {**fields, "image": tf.identity(pixels)}

    return replay


def make_views(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    augmentation: Augmentation | CropAugmentation,
    block_views: int,
) -> tf.Tensor:
    """The views of one block: uint8 [N, H, W, C], N <= block_views.

    Writer and reader both pad to the full block by repeating the first view, so
    that the compiled augmentation meets one shape and gives the same bits.
    """
    count = tf.shape(images)[0]

    def padded(values: tf.Tensor) -> tf.Tensor:
        places = tf.range(block_views)
        filled = tf.gather(values, tf.where(places < count, places, 0))
        return tf.ensure_shape(filled, [block_views, *values.shape[1:]])

    made = augment.views(padded(images), padded(seeds), augmentation=augmentation)
    return tf.gather(made, tf.range(count))
