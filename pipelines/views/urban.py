"""Urban's augmentation (docs/papers/urban2017.md), batched and stateless."""

import functools

import numpy as np
import tensorflow as tf

from kerasdistill import packages
from kerasdistill.recipes.base import Augmentation
from pipelines.views.draws import uniform

_PLACED_SIDE = 64  # images up to here have a matrix for each place of each crop

_DRAWS = (
    "hue saturation value saturation_scale value_scale mirror crop left top".split()
)


def views(
    images: tf.Tensor, seeds: tf.Tensor, *, augmentation: Augmentation
) -> tf.Tensor:
    """HSV change, crop and spline resize, mirror: one view per image.

    uint8 [N, side, side, 3] (or 1 channel for grey), int64 [N] (see
    `kerasdistill.seeds.view_seeds`) -> uint8 of the images' shape. Each view depends on
    its own image and seed only, so it is the same in any batch.
    """
    return _compiled(augmentation)(images, seeds)


def real_views(
    images: tf.Tensor, seeds: tf.Tensor, *, augmentation: Augmentation
) -> tf.Tensor:
    """`views` before clipping and rounding: float32, nominally in [0, 1]."""
    columns = tf.unstack(uniform(seeds, len(_DRAWS)), axis=1)
    draws = dict(zip(_DRAWS, columns, strict=True))
    pixels = tf.cast(images, tf.float32) / 255.0
    pixels = change_hsv(pixels, *_hsv_changes(draws, augmentation), augmentation)
    pixels = _crop_and_resize(pixels, draws, augmentation)
    if not augmentation.mirror:
        return pixels
    mirrored = draws["mirror"] < 0.5
    return tf.where(mirrored[:, None, None, None], pixels[:, :, ::-1], pixels)


def change_hsv(
    pixels: tf.Tensor, shifts: tf.Tensor, scales: tf.Tensor, augmentation: Augmentation
) -> tf.Tensor:
    """Shifts hue and shifts and scales saturation and value of whole images.

    Grey images have a value alone, and stay grey.

    Args:
        pixels: RGB in [0, 1], [N, H, W, 3], or grey, [N, H, W, 1]; so is the result.
        shifts: [N, 3], added to hue (1 is a full turn), saturation and value.
        scales: [N, 2], factors on saturation and value.
        augmentation: says whether shifts come before scales.
    """
    shift = [shifts[:, index, None, None] for index in range(3)]
    scale = [scales[:, index, None, None] for index in range(2)]

    def changed(channel, shift, scale):
        if augmentation.shift_then_scale:
            return tf.clip_by_value((channel + shift) * scale, 0.0, 1.0)
        return tf.clip_by_value(channel * scale + shift, 0.0, 1.0)

    if pixels.shape[-1] == 1:
        return changed(pixels[..., 0], shift[2], scale[1])[..., None]
    red, green, blue = tf.unstack(pixels, axis=-1)
    value = tf.maximum(red, tf.maximum(green, blue))
    chroma = value - tf.minimum(red, tf.minimum(green, blue))
    saturation = tf.math.divide_no_nan(chroma, value)
    inverse = tf.math.divide_no_nan(1.0, chroma)
    hue = tf.where(  # in sixths of a turn
        tf.equal(value, red),
        (green - blue) * inverse,
        tf.where(
            tf.equal(value, green),
            2.0 + (blue - red) * inverse,
            4.0 + (red - green) * inverse,
        ),
    )
    hue = hue + 6.0 * shift[0]
    saturation = changed(saturation, shift[1], scale[0])
    value = changed(value, shift[2], scale[1])
    # HSV to RGB in closed form: channel n is v - v*s*clip(min(k, 4-k), 0, 1) with
    # k = (n + hue) mod 6; without branches it fuses into one pass over the pixels.
    chroma = value * saturation
    channels = []
    for offset in (5.0, 3.0, 1.0):
        sextant = hue + offset
        sextant = sextant - 6.0 * tf.floor(sextant / 6.0)
        weight = tf.clip_by_value(tf.minimum(sextant, 4.0 - sextant), 0.0, 1.0)
        channels.append(value - chroma * weight)
    return tf.stack(channels, axis=-1)


@functools.cache
def resize_matrices(
    side: int, min_crop: int, *, placed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Every crop followed by scipy's cubic spline resize, as matrices.

    `scipy.ndimage.zoom(order=3)` is linear and separable for a given crop size, so
    its effect on one axis is a matrix: what it makes of the unit vectors.

    Returns:
        float32 [count, side, side], acting on a column of `side` pixels, for every
        (crop size, offset; 0 alone unless `placed`), and int32 [side - min_crop + 1]:
        where the matrices of each crop size, from min_crop up, begin.
    """
    packages.require("scipy", by="the view urban")
    from scipy import ndimage

    matrices, first = [], []
    for size in range(min_crop, side + 1):
        units = np.eye(size)
        zoomed = [ndimage.zoom(unit, side / size, order=3) for unit in units]
        first.append(len(matrices))
        for offset in range(side - size + 1 if placed else 1):
            matrix = np.zeros((side, side))
            matrix[:, offset : offset + size] = np.stack(zoomed, axis=1)
            matrices.append(matrix)
    return np.stack(matrices).astype(np.float32), np.array(first, np.int32)


def _crop_and_resize(
    pixels: tf.Tensor, draws: dict[str, tf.Tensor], augmentation: Augmentation
) -> tf.Tensor:
    side, channels = pixels.shape[1], pixels.shape[3]
    # Beyond some size there are too many places to have a matrix for each: there the
    # pixels move to the first place instead.
    placed = side <= _PLACED_SIDE
    matrices, first = resize_matrices(side, augmentation.min_crop, placed=placed)
    sizes = side - augmentation.min_crop + 1
    size_index = tf.cast(draws["crop"] * sizes, tf.int32)
    offsets = tf.cast(sizes - size_index, tf.float32)
    start = tf.gather(first, size_index)

    def resized(x: tf.Tensor, draw: str) -> tf.Tensor:
        """Along the second axis of [N, side, side, channels]."""
        offset = tf.cast(draws[draw] * offsets, tf.int32)
        if not placed:
            # What comes after the crop has weight 0.
            reach = tf.minimum(offset[:, None] + tf.range(side), side - 1)
            x, offset = tf.gather(x, reach, axis=1, batch_dims=1), 0
        matrix = tf.gather(matrices, start + offset)
        return tf.matmul(matrix, tf.reshape(x, [-1, side, side * channels]))

    def transposed(x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(tf.reshape(x, [-1, side, side, channels]), [0, 2, 1, 3])

    return transposed(resized(transposed(resized(pixels, "top")), "left"))


def _hsv_changes(
    draws: dict[str, tf.Tensor], augmentation: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    shifts = [
        (2.0 * draws[name] - 1.0) * getattr(augmentation, name)
        for name in ("hue", "saturation", "value")
    ]
    scales = []
    for name in ("saturation_scale", "value_scale"):
        low = 1.0 / (1.0 + getattr(augmentation, name))
        high = 1.0 + getattr(augmentation, name)
        scales.append(low + (high - low) * draws[name])
    return tf.stack(shifts, axis=1), tf.stack(scales, axis=1)


@functools.cache
def _compiled(augmentation: Augmentation):
    # XLA fuses the pixel arithmetic: 2.4 times the speed of separate ops on a CPU.
    @tf.function(jit_compile=True)
    def compiled(images, seeds):
        with tf.device("CPU:0"):
            pixels = real_views(images, seeds, augmentation=augmentation)
            scaled = tf.clip_by_value(pixels, 0.0, 1.0) * 255.0
            return tf.cast(tf.round(scaled), tf.uint8)

    return compiled
