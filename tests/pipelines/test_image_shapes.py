"""Images of other sizes and colours: data, augmentation, and the way to a student."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from kerasdistill.errors import UserError
from kerasdistill.recipes import base, fast, urban2017
from kerasdistill.seeds import view_seeds
from pipelines import datasets
from pipelines.views import urban
from pipelines.views.draws import uniform

PLAIN = {"hue": 0, "saturation": 0, "value": 0, "saturation_scale": 0, "value_scale": 0}


def test_digits_of_another_size_and_grey():
    grey = datasets.load("digits", image_shape=(16, 16, 1))
    assert grey.image_shape == (16, 16, 1) and grey.train.images.dtype == np.uint8
    usual = datasets.load("digits")
    # The same images in the same splits.
    for split in ("train", "validation", "test"):
        ids = [data.split(split).sample_ids for data in (grey, usual)]
        np.testing.assert_array_equal(*ids)
    small = usual.train.images[:50, 8:24, 8:24].mean()
    assert (
        grey.train.images[:50].mean()
        == pytest.approx(usual.train.images[:50].mean(), abs=3)
        and small > 0
    )
    assert grey.digest != usual.digest and "16x16x1" in grey.notes[0]


def test_a_folder_in_other_shapes(tmp_path):
    for name, level in (("dark", 40), ("light", 200)):
        for number in range(3):
            path = tmp_path / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colour = (level, level // 2, level // 4)
            image = Image.new("RGB", (30 + number, 20), colour)
            image.paste("white", (0, 16, 40, 20))
            image.save(path)
    name = f"folder:{tmp_path}"
    wide = datasets.load(name, image_shape=(48, 48, 3))
    assert wide.image_shape == (48, 48, 3) and "48x48" in wide.notes[0]
    assert {tuple(i[0, 0]) for i in wide.train.images} <= {(40, 20, 10), (200, 100, 50)}
    grey = datasets.load(name, image_shape=(48, 48, 1))
    levels = {int(image[0, 0, 0]) for image in grey.train.images}
    # ITU-R 601-2 of the colours.
    assert levels <= {round(40 * 0.299 + 20 * 0.587 + 10 * 0.114), 124}


@pytest.mark.parametrize("shape", [(32, 24, 3), (4, 4, 3), (32, 32, 2)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(UserError, match="expected a square"):
        datasets.load("digits", image_shape=shape)


@pytest.mark.parametrize("shape", [(16, 16, 1), (48, 48, 3), (72, 72, 3), (72, 72, 1)])
def test_crops_are_scipys_resized_at_any_size(shape):
    side = shape[0]
    low = round(0.75 * side)
    augmentation = base.Augmentation(**PLAIN, min_crop=low, mirror=False)
    images = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(np.uint8)
    seeds = view_seeds(np.arange(3), pass_index=0, seed=7)
    found = urban.real_views(
        tf.constant(images), tf.constant(seeds), augmentation=augmentation
    ).numpy()
    draws = uniform(tf.constant(seeds), len(urban._DRAWS)).numpy()
    for image, view, draw in zip(images, found, draws, strict=True):
        crop, left, top = draw[6:]
        size = low + int(crop * (side - low + 1))
        rows, columns = (int(d * (side - size + 1)) for d in (top, left))
        cut = image[rows : rows + size, columns : columns + size] / 255
        zoom = (side / size, side / size, 1)
        expected = np.stack(
            [ndimage.zoom(cut[..., c], zoom[:2], order=3) for c in range(shape[2])], -1
        )
        np.testing.assert_allclose(view, expected, atol=1e-5)


def test_grey_images_change_in_value_alone():
    pixels = np.full((2, 2, 2, 1), 0.5, np.float32)
    shifts = np.array([[0.3, 0.4, 0.1], [0.0, 0.0, -0.1]], np.float32)
    scales = np.array([[2.0, 1.2], [0.5, 0.8]], np.float32)
    found = urban.change_hsv(
        tf.constant(pixels),
        tf.constant(shifts),
        tf.constant(scales),
        base.Augmentation(),
    )
    expected = [(0.5 + 0.1) * 1.2, (0.5 - 0.1) * 0.8]
    np.testing.assert_allclose(found[:, 0, 0, 0], expected, rtol=1e-6)
    assert found.shape == (2, 2, 2, 1)


def test_crops_and_shifts_scale_with_the_side():
    teacher = urban2017.teacher(1)
    assert base.for_images(teacher, (32, 32, 3)) == teacher
    assert base.for_images(teacher, (64, 64, 3)).augmentation.min_crop == 48
    assert base.for_images(teacher, (16, 16, 1)).augmentation.min_crop == 12
    assert base.for_images(fast.teacher(), (64, 64, 3)).augmentation.pixels == 8
