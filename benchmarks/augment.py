"""Speed of the augmentation: images/s, against scipy one image at a time.

Both sides do the whole of it: HSV change, crop, cubic spline resize, mirror.
"""

import timing  # isort: skip (first: it chooses the cores)

import numpy as np
import tensorflow as tf
from scipy import ndimage

from kerasdistill.recipes.base import Augmentation
from kerasdistill.seeds import view_seeds
from pipelines.views import augment

BATCH = 512
URBAN = Augmentation()


def pipeline(images: np.ndarray, seeds: np.ndarray) -> int:
    """The views in a tf.data pipeline, as a training reads them."""
    views = (
        tf.data.Dataset.from_tensor_slices((images, seeds))
        .batch(BATCH, drop_remainder=True)
        .map(
            lambda images, seeds: augment.block(images, seeds, augmentation=URBAN),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )
    return sum(len(batch["image"]) for batch in views)


def one_by_one(images: np.ndarray, seeds: np.ndarray) -> int:
    """The same change, an image at a time: NumPy, and scipy for the resize."""
    generator = np.random.default_rng(int(seeds[0]) & 0xFFFF)
    draws = generator.random((len(images), 9)).astype(np.float32)
    for image, draw in zip(images, draws, strict=True):
        side = len(image)
        shifts = (2 * draw[:3] - 1) * np.float32([URBAN.hue, URBAN.saturation, 0.2])
        pixels = change_hsv(image / np.float32(255), shifts, 1 + 0.2 * draw[3:5])
        size = URBAN.min_crop + int(draw[6] * (side - URBAN.min_crop + 1))
        left, top = (int(fraction * (side - size + 1)) for fraction in draw[7:])
        crop = pixels[top : top + size, left : left + size]
        view = ndimage.zoom(crop, (side / size, side / size, 1), order=3)
        view = view[:, ::-1] if draw[5] < 0.5 else view
        np.rint(np.clip(view, 0, 1) * 255).astype(np.uint8)
    return len(images)


def change_hsv(pixels: np.ndarray, shifts: np.ndarray, scales: np.ndarray):
    """RGB to HSV, changed, and back: [H, W, 3] in [0, 1]."""
    value = pixels.max(axis=-1)
    chroma = value - pixels.min(axis=-1)
    safe = np.where(chroma > 0, chroma, 1)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    hue = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    saturation = chroma / np.where(value > 0, value, 1)
    hue = hue + 6 * shifts[0]
    saturation = np.clip((saturation + shifts[1]) * scales[0], 0, 1)
    value = np.clip((value + shifts[2]) * scales[1], 0, 1)
    sextant = (np.array([5, 3, 1], np.float32) + hue[..., None]) % 6
    weight = np.clip(np.minimum(sextant, 4 - sextant), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * weight)


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=65_536)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (asked.views, 32, 32, 3), dtype=np.uint8)
    seeds = view_seeds(np.arange(asked.views), pass_index=0, seed=0)
    few = max(1, asked.views // 64)  # the slow way needs no more to be timed
    measured = timing.rates(
        {
            "pipelines.views.augment.block": lambda: pipeline(images, seeds),
            "NumPy and scipy.ndimage.zoom": lambda: one_by_one(
                images[:few], seeds[:few]
            ),
        },
        rounds=asked.rounds,
    )
    timing.show("Augmentation", measured, as_json=asked.json)


if __name__ == "__main__":
    main()
