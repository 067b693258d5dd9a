"""Augmentation against scipy and colorsys, and as a function of image and seed."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from kerasdistill.recipes.base import Augmentation
from kerasdistill.seeds import view_seeds
from pipelines.views import augment, urban
from pipelines.views.draws import uniform

URBAN = Augmentation()
STILL = Augmentation(
    hue=0.0,
    saturation=0.0,
    value=0.0,
    saturation_scale=0.0,
    value_scale=0.0,
    min_crop=32,
    mirror=False,
)
SIDE = 32


def noise(count: int, side: int = SIDE) -> np.ndarray:
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def seeds(count: int, pass_index: int = 0, seed: int = 0) -> np.ndarray:
    return view_seeds(np.arange(count), pass_index=pass_index, seed=seed)


def views(images, view_seeds, augmentation=URBAN) -> np.ndarray:
    made = augment.block(images, view_seeds, augmentation=augmentation)
    return made["image"].numpy()


@pytest.fixture
def draw(monkeypatch):
    """Puts chosen draws in [0, 1) into the place of the random ones."""

    def choose(**chosen: float) -> None:
        row = [chosen.get(name, 0.5) for name in urban._DRAWS]
        monkeypatch.setattr(
            urban,
            "uniform",
            lambda seeds, count: tf.tile([row], [len(seeds), 1])[:, :count],
        )

    return choose


# Crop and resize


@pytest.mark.parametrize("size", range(24, 33))
def test_crops_are_resized_as_scipy_does_it(draw, size):
    images = noise(2)
    steps = SIDE - size + 1
    only_crops = replace(STILL, min_crop=24)
    for left, top in {(0, 0), (steps - 1, 0), (0, steps - 1), (steps // 2, steps // 3)}:
        draw(
            crop=(size - 24 + 0.5) / 9,
            left=(left + 0.5) / steps,
            top=(top + 0.5) / steps,
        )
        made = urban.real_views(images, seeds(2), augmentation=only_crops)
        for image, view in zip(images, made.numpy(), strict=True):
            crop = image[top : top + size, left : left + size] / 255.0
            expected = [
                ndimage.zoom(crop[..., channel], SIDE / size, order=3)
                for channel in range(3)
            ]
            np.testing.assert_allclose(view, np.stack(expected, axis=-1), atol=1e-4)


def test_one_matrix_per_crop_size_and_offset():
    matrices, first = urban.resize_matrices(SIDE, 24)
    assert matrices.shape == (45, SIDE, SIDE)  # 9 + 8 + ... + 1
    np.testing.assert_array_equal(np.diff(first), [9, 8, 7, 6, 5, 4, 3, 2])
    np.testing.assert_allclose(matrices[-1], np.eye(SIDE), atol=1e-6)
    # A spline through equal values is that value, wherever it was cropped.
    np.testing.assert_allclose(matrices.sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("drawn", "corner"), [(0.0, 0), (np.nextafter(np.float32(1), np.float32(0)), 8)]
)
def test_the_smallest_crop_reaches_both_edges(draw, drawn, corner):
    # A ramp shows where the crop began: the resize keeps end points in place.
    ramp = (
        np.zeros((1, SIDE, SIDE, 3), np.uint8)
        + np.arange(SIDE, dtype=np.uint8)[:, None, None]
    )
    draw(crop=0.0, top=drawn, left=drawn)
    view = urban.real_views(
        ramp, seeds(1), augmentation=replace(STILL, min_crop=24)
    ).numpy()
    assert view[0, 0, 0, 0] * 255 == pytest.approx(corner, abs=1e-3)
    assert view[0, -1, 0, 0] * 255 == pytest.approx(corner + 23, abs=1e-3)


def test_crop_sizes_and_offsets_cover_their_ranges_evenly():
    # The first row and the last of a ramp image give away offset and crop size.
    count = 9_000
    ramp = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    ramp += 7 * np.arange(SIDE, dtype=np.uint8)[:, None, None]
    made = views(ramp, seeds(count), replace(STILL, min_crop=24))
    tops = np.rint(made[:, 0, 0, 0] / 7).astype(int)
    sizes = np.rint(made[:, -1, 0, 0] / 7).astype(int) - tops + 1
    frequency = np.bincount(sizes)[24:] / count
    np.testing.assert_allclose(frequency, np.full(9, 1 / 9), atol=0.015)
    for size in range(24, 33):
        offsets = np.bincount(tops[sizes == size], minlength=SIDE - size + 1)
        expected = 1 / (SIDE - size + 1)
        np.testing.assert_allclose(offsets / offsets.sum(), expected, atol=0.05)


# Hue, saturation, value


def pixels_of_every_kind() -> np.ndarray:
    """Random, grey, black, white and fully saturated pixels, in [0, 1]: [N, 3]."""
    grey = np.repeat(np.linspace(0, 1, 20)[:, None], 3, axis=1)
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    ties = np.array([[0.7, 0.7, 0.1], [0.1, 0.7, 0.7], [0.7, 0.1, 0.7], [0.3, 0.3, 1]])
    random = np.random.default_rng(5).random((200, 3))
    return np.concatenate([grey, corners, ties, random]).astype(np.float32)


def changed_by_colorsys(pixel, shifts, scales, shift_then_scale):
    hue, saturation, value = colorsys.rgb_to_hsv(*map(float, pixel))

    def changed(channel, shift, scale):
        moved = (
            (channel + shift) * scale if shift_then_scale else channel * scale + shift
        )
        return min(max(moved, 0.0), 1.0)

    return colorsys.hsv_to_rgb(
        (hue + shifts[0]) % 1.0,
        changed(saturation, shifts[1], scales[0]),
        changed(value, shifts[2], scales[1]),
    )


@pytest.mark.parametrize("shift_then_scale", [True, False])
@pytest.mark.parametrize(
    ("shifts", "scales"),
    [
        ((0.0, 0.0, 0.0), (1.0, 1.0)),
        ((0.06, 0.0, 0.0), (1.0, 1.0)),
        ((-0.06, 0.26, -0.2), (1.21, 1 / 1.13)),
        ((0.5, -0.26, 0.2), (1 / 1.21, 1.13)),
    ],
)
def test_hsv_changes_agree_with_colorsys(shifts, scales, shift_then_scale):
    pixels = pixels_of_every_kind()
    made = urban.change_hsv(
        tf.constant(pixels[None, None]),
        tf.constant([shifts], tf.float32),
        tf.constant([scales], tf.float32),
        replace(URBAN, shift_then_scale=shift_then_scale),
    )
    expected = [
        changed_by_colorsys(pixel, shifts, scales, shift_then_scale) for pixel in pixels
    ]
    np.testing.assert_allclose(made[0, 0].numpy(), expected, atol=1e-5)


def test_hsv_draws_fill_their_ranges():
    drawn = uniform(tf.constant(seeds(20_000)), len(urban._DRAWS))
    draws = dict(zip(urban._DRAWS, tf.unstack(drawn, axis=1), strict=True))
    shifts, scales = urban._hsv_changes(draws, URBAN)
    edges = [(-0.06, 0.06), (-0.26, 0.26), (-0.2, 0.2), (1 / 1.21, 1.21)]
    edges.append((1 / 1.13, 1.13))
    columns = np.concatenate([shifts.numpy(), scales.numpy()], axis=1).T
    for column, (low, high) in zip(columns, edges, strict=True):
        assert low <= column.min() and column.max() <= high
        fractions = (column - low) / (high - low)  # uniform on [0, 1]
        quantiles = np.quantile(fractions, [0.0, 0.25, 0.5, 0.75, 1.0])
        np.testing.assert_allclose(quantiles, [0, 0.25, 0.5, 0.75, 1.0], atol=0.015)


def test_draws_are_independent_of_each_other():
    drawn = uniform(tf.constant(seeds(20_000)), len(urban._DRAWS)).numpy()
    correlation = np.corrcoef(drawn.T) - np.eye(len(urban._DRAWS))
    assert np.abs(correlation).max() < 0.03  # four standard deviations


# Whole views


def test_half_of_the_views_are_mirrored_and_nothing_else():
    image = noise(1)
    images = np.repeat(image, 4_000, axis=0)
    made = views(images, seeds(4_000), replace(STILL, mirror=True))
    plain = (made == image).all(axis=(1, 2, 3))
    mirrored = (made == image[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (plain ^ mirrored).all()
    assert mirrored.mean() == pytest.approx(0.5, abs=0.03)


def test_zero_constants_give_back_the_same_bytes():
    every_level = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    images = np.concatenate([noise(6), every_level])
    np.testing.assert_array_equal(views(images, seeds(7), STILL), images)


def test_a_view_is_the_same_in_every_batch_and_order():
    images, view_seeds = noise(64), seeds(64)
    whole = views(images, view_seeds)
    for size in (1, 3):
        parts = [
            views(images[start : start + size], view_seeds[start : start + size])
            for start in range(0, 64, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    order = np.random.default_rng(1).permutation(64)
    np.testing.assert_array_equal(views(images[order], view_seeds[order]), whole[order])


def test_a_view_is_the_same_inside_a_data_pipeline():
    images, view_seeds = noise(12), seeds(12)
    pipeline = (
        tf.data.Dataset.from_tensor_slices((images, view_seeds))
        .batch(5)
        .map(
            lambda image, seed: augment.block(image, seed, augmentation=URBAN),
            num_parallel_calls=2,
        )
    )
    made = [batch["image"] for batch in pipeline.as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(made), views(images, view_seeds))


def test_seeds_alone_decide():
    images = noise(8)
    first = views(images, seeds(8, pass_index=0))
    np.testing.assert_array_equal(views(images, seeds(8, pass_index=0)), first)
    for other in (seeds(8, pass_index=1), seeds(8, seed=1)):
        differs = (views(images, other) != first).any(axis=(1, 2, 3))
        assert differs.all()


def test_small_images_work_too():
    images = noise(4, side=8)
    made = views(images, seeds(4), Augmentation(min_crop=6))
    assert made.shape == (4, 8, 8, 3) and made.dtype == np.uint8


def test_views_change_only_with_the_code_version():
    # Means with a tolerance rather than a digest: processors round the matrix
    # products differently, which moves single pixels by one. A view that changed
    # for any other reason moves these by far more: then raise CODE_VERSION.
    assert augment.CODE_VERSION == 1
    down, right = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    image = np.stack([7 * right, 7 * down, 255 - 4 * (down + right)], axis=-1)
    made = views(np.repeat(image[None].astype(np.uint8), 4, axis=0), seeds(4))
    means = made[:, :16, :16].mean(axis=(1, 2))  # a quarter shows crop and mirror
    np.testing.assert_allclose(means, GOLDEN, atol=0.1)


GOLDEN = [
    [13.71, 114.90, 209.28],
    [48.68, 75.89, 188.04],
    [159.58, 49.79, 141.37],
    [37.84, 54.28, 153.01],
]
