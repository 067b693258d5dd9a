"""Views made again from their seeds, the same bits as those the teacher scored."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError
from pipelines.sources.source import Source, reader
from pipelines.stored import records
from pipelines.stored.manifest import Manifest
from pipelines.views import augment
from pipelines.views.view import Fields, Tensors


def replayer(path: Path, manifest: Manifest, train: Source) -> Fields:
    """The function that adds "image", uint8 [B, H, W, C], to a block of a replay store.

    In the graph it asserts that the pixels have the stored fingerprint. `train` is the
    transfer set, `path` the set's directory, for errors. StaleArtifactError if the
    augmentation's code is of another version.
    """
    if manifest.augmentation_code_version != augment.CODE_VERSION:
        raise StaleArtifactError(
            f"distillation set {path}: field augmentation_code_version is "
            f"{manifest.augmentation_code_version}, this version has "
            f"{augment.CODE_VERSION}; precompute again, or use the images store"
        )
    augmentation = augmentation_of(path, manifest)
    with tf.device("CPU:0"):
        read = reader(train)
        order = tf.constant(np.argsort(train.sample_ids))
        sorted_ids = tf.gather(tf.constant(train.sample_ids), order)

    def replay(fields: Tensors) -> Tensors:
        rows = tf.gather(order, tf.searchsorted(sorted_ids, fields["sample_id"]))
        how = {"augmentation": augmentation, "block_views": manifest.block_views}
        pixels = make_views(read(rows), fields["seeds"], **how)["image"]
        fingerprint = records.pixel_fingerprint(pixels)
        same = tf.reduce_all(fingerprint == fields["pixel_fingerprint"])
        message = (
            f"distillation set {path}: the views of this (pass, block), "
            "re-made from their seeds, differ from those the teacher scored "
            "(field pixel_fingerprint); precompute again"
        )
        block = [fields["pass_index"], fields["block_index"]]
        with tf.control_dependencies([tf.Assert(same, [message, *block])]):
            return {**fields, "image": tf.identity(pixels)}

    return replay


def augmentation_of(path: Path, manifest: Manifest) -> Any:
    """How the views of a set were made; StaleArtifactError if nothing is called so."""
    try:
        return augment.from_json(manifest.augmentation)
    except ValueError as error:
        raise StaleArtifactError(
            f"distillation set {path}: field augmentation is damaged ({error})"
        ) from error


def make_views(
    images: tf.Tensor, seeds: tf.Tensor, *, augmentation: Any, block_views: int
) -> Tensors:
    """The views of one block of N <= block_views images, see `augment.block`.

    Writer and reader both pad to the full block by repeating the views in turn, so
    that the compiled augmentation meets one shape and gives the same bits; and what a
    view is mixed with is always one of the N.
    """
    count = tf.shape(images)[0]

    def padded(values: tf.Tensor) -> tf.Tensor:
        filled = tf.gather(values, tf.range(block_views) % count)
        return tf.ensure_shape(filled, [block_views, *values.shape[1:]])

    made = augment.block(padded(images), padded(seeds), augmentation=augmentation)
    fields = {name: tf.gather(x, tf.range(count)) for name, x in made.items()}
    if "partner" in fields:
        fields["partner"] %= tf.cast(count, tf.int64)
    return fields
