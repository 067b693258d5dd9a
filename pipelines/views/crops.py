"""Crops of padded images, as Wide-ResNets are trained on."""

import tensorflow as tf

from kerasdistill.recipes.base import CropAugmentation
from pipelines.views.draws import uniform
from pipelines.views.shifts import reflected_crop


@tf.function
def views(
    images: tf.Tensor, seeds: tf.Tensor, augmentation: CropAugmentation
) -> tf.Tensor:
    """Pads by reflection, crops the image's size, mirrors: one view per image.

    uint8 [N, side, side, channels], int64 [N] (see `kerasdistill.seeds.view_seeds`) ->
    uint8 of the images' shape. Each view depends on its own image and seed only.
    """
    top, left, mirror = tf.unstack(uniform(seeds, 3), axis=1)
    with tf.device("CPU:0"):
        cropped = reflected_crop(images, top, left, pad=augmentation.pad)
        if not augmentation.mirror:
            return cropped
        mirrored = (mirror < 0.5)[:, None, None, None]
        return tf.where(mirrored, cropped[:, :, ::-1], cropped)
