"""Shifted, mirrored, partly covered views: the fast teacher's, batched, stateless."""

import numpy as np
import tensorflow as tf

from kerasdistill.recipes.base import Shifts
from kerasdistill.seeds import view_seeds
from pipelines.views.draws import uniform


def seeds(sample_ids: np.ndarray, *, pass_index: int, seed: int) -> np.ndarray:
    """int64 [N]: view seeds whose lowest bit, which mirrors, alternates by pass."""
    of_this_pass = view_seeds(sample_ids, pass_index=pass_index, seed=seed)
    coins = view_seeds(sample_ids, pass_index=0, seed=seed)
    lowest = (coins ^ np.int64(pass_index)) & np.int64(1)
    return (of_this_pass & ~np.int64(1)) | lowest


def views(images: tf.Tensor, seeds: tf.Tensor, *, augmentation: Shifts) -> tf.Tensor:
    """One view per image: mirrored if its seed is odd, shifted, partly covered.

    uint8 [N, height, width, channels], int64 [N] -> uint8 of the images' shape. Each
    view depends on its own image and seed only.
    """
    _, height, width, _ = images.shape
    top, left, cover_top, cover_left = tf.unstack(uniform(seeds, 4), axis=1)
    if augmentation.mirror:
        odd = tf.equal(tf.bitwise.bitwise_and(seeds, tf.constant(1, tf.int64)), 1)
        images = tf.where(odd[:, None, None, None], images[:, :, ::-1], images)
    shifted = reflected_crop(images, top, left, pad=augmentation.pixels)
    if (side := augmentation.cutout) == 0:
        return shifted
    rows = _within(_first(cover_top, height - side + 1), side, height)
    columns = _within(_first(cover_left, width - side + 1), side, width)
    covered = (rows[:, :, None] & columns[:, None, :])[..., None]
    mean = tf.reduce_mean(tf.cast(shifted, tf.float32), axis=(1, 2), keepdims=True)
    return tf.where(covered, tf.cast(tf.round(mean), tf.uint8), shifted)


def reflected_crop(
    images: tf.Tensor, top: tf.Tensor, left: tf.Tensor, *, pad: int
) -> tf.Tensor:
    """Pads by reflection (edges are not repeated) and crops the image's size.

    No pixel is computed: each row and column of the crop is one of the image. `top` and
    `left` are draws in [0, 1), [N], among the 2 pad + 1 places.
    """

    def source(draw: tf.Tensor, length: int) -> tf.Tensor:
        offsets = _first(draw, 2 * pad + 1)[:, None]
        shifted = tf.abs(tf.range(length)[None] + offsets - pad)
        return (length - 1) - tf.abs(length - 1 - shifted)

    rows = source(top, images.shape[1])
    chosen = tf.gather(images, rows, axis=1, batch_dims=1)
    columns = source(left, images.shape[2])
    return tf.gather(chosen, columns, axis=2, batch_dims=1)


def _first(draw: tf.Tensor, count: int) -> tf.Tensor:
    """A whole number from 0 to count - 1."""
    return tf.cast(draw * float(count), tf.int32)


def _within(first: tf.Tensor, side: int, length: int) -> tf.Tensor:
    places = tf.range(length)[None] - first[:, None]
    return (places >= 0) & (places < side)
