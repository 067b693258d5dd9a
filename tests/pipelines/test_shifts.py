"""Shifted, mirrored and covered views."""

from dataclasses import replace

import numpy as np
import pytest

from kerasdistill.recipes.base import Shifts
from pipelines.views import shifts

STILL = Shifts(pixels=0, mirror=False)
IDS = np.arange(600)


def images(count=600, side=12):
    generator = np.random.default_rng(count)
    return generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def seeds(pass_index, seed=0, ids=IDS):
    return shifts.seeds(ids, pass_index=pass_index, seed=seed)


def views(pictures, view_seeds, augmentation):
    return shifts.views(pictures, view_seeds, augmentation=augmentation).numpy()


def test_mirroring_alternates_and_half_begin_mirrored():
    pictures, mirrors = images(), replace(STILL, mirror=True)
    first = views(pictures, seeds(0), mirrors)
    mirrored = (first == pictures[:, :, ::-1]).all(axis=(1, 2, 3))
    plain = (first == pictures).all(axis=(1, 2, 3))
    assert (mirrored ^ plain).all() and 240 < mirrored.sum() < 360
    np.testing.assert_array_equal(views(pictures, seeds(1), mirrors), first[:, :, ::-1])
    np.testing.assert_array_equal(views(pictures, seeds(2), mirrors), first)
    assert not np.array_equal(views(pictures, seeds(0, seed=1), mirrors), first)


def test_shifts_are_crops_of_the_reflected_image():
    pictures, moves = images(), replace(STILL, pixels=2)
    made = views(pictures, seeds(0), moves)
    padded = np.pad(pictures, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    found = np.zeros((5, 5), int)
    for view, around in zip(made, padded, strict=True):
        places = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(view, around[top : top + 12, left : left + 12])
        ]
        assert len(places) == 1
        found[places[0]] += 1
    assert found.min() > 8 and found.max() < 48  # 24 each
    assert not np.array_equal(views(pictures, seeds(1), moves), made)


def test_a_square_takes_the_mean_colour():
    pictures = images(count=200)
    made = views(pictures, seeds(3)[:200], replace(STILL, cutout=5))
    mean = pictures.astype(np.float64).mean(axis=(1, 2), keepdims=True)
    covered = (made != pictures).any(axis=-1)
    assert (covered.sum(axis=(1, 2)) >= 20).all()
    rows, columns = covered.any(axis=2), covered.any(axis=1)
    assert rows.sum(axis=1).max() == 5 and columns.sum(axis=1).max() == 5
    difference = np.abs(made - mean)[covered]
    assert difference.max() <= 0.51
    assert rows[:, 0].any() and rows[:, -1].any()


@pytest.mark.parametrize("batch", [1, 7])
def test_a_view_is_the_same_in_any_batch(batch):
    pictures, augmentation = images(count=14), Shifts(pixels=3, cutout=4)
    chosen = seeds(5)[:14]
    parts = [
        views(pictures[i : i + batch], chosen[i : i + batch], augmentation)
        for i in range(0, 14, batch)
    ]
    whole = views(pictures, chosen, augmentation)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
