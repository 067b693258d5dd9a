"""The crop of the padded image and mirror, against NumPy's padding."""

import numpy as np
import pytest

from kerasdistill.recipes.base import CropAugmentation
from kerasdistill.seeds import view_seeds
from pipelines.datasets import Examples
from pipelines.views import augment, live_views

SIDE = 12  # wide enough that no crop is another one's mirror image
IMAGES = np.random.default_rng(0).integers(0, 256, (60, SIDE, SIDE, 3), "uint8")
IDS = np.arange(60) + 1_000


def views(images=IMAGES, ids=IDS, *, pass_index=0, seed=0, **options):
    seeds = view_seeds(ids, pass_index=pass_index, seed=seed)
    augmentation = CropAugmentation(**options)
    found = augment.block(images, seeds, augmentation=augmentation)["image"]
    assert found.dtype == "uint8"
    return found.numpy()


def places(view, image, pad):
    """Every (top, left, mirrored) whose crop of the padded image is the view."""
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)], mode="reflect")
    offsets = range(2 * pad + 1)
    crops = {
        (top, left): padded[top : top + SIDE, left : left + SIDE]
        for top in offsets
        for left in offsets
    }
    found = [(*at, False) for at, crop in crops.items() if (crop == view).all()]
    flipped = [
        (*at, True) for at, crop in crops.items() if (crop == view[:, ::-1]).all()
    ]
    return found + flipped


@pytest.mark.parametrize("pad", [2, 4])
def test_views_are_crops_of_the_padded_image_and_all_occur(pad):
    found = [
        places(view, image, pad)
        for number in range(3)
        for view, image in zip(views(pass_index=number, pad=pad), IMAGES, strict=True)
    ]
    assert all(len(each) == 1 for each in found)
    tops, lefts, mirrored = map(set, zip(*(each[0] for each in found), strict=True))
    assert tops == lefts == set(range(2 * pad + 1)) and mirrored == {True, False}
    assert 60 < sum(each[0][2] for each in found) < 120  # of 180


def test_without_padding_and_mirror_nothing_changes():
    np.testing.assert_array_equal(views(pad=0, mirror=False), IMAGES)
    assert not any(
        place[2]
        for view, image in zip(views(mirror=False), IMAGES, strict=True)
        for place in places(view, image, 4)
    )


def test_a_view_depends_on_image_pass_and_seed_alone():
    whole = views()
    turned = np.arange(60)[::-1]
    np.testing.assert_array_equal(views(IMAGES[turned], IDS[turned]), whole[turned])
    np.testing.assert_array_equal(views(IMAGES[:7], IDS[:7]), whole[:7])
    assert (views(pass_index=1) != whole).any()
    assert (views(seed=1) != whole).any()


def test_live_views_bring_label_and_sample_id():
    examples = Examples(IMAGES, np.arange(60) % 3, IDS)
    options = {"augmentation": CropAugmentation(), "seed": 5, "batch_size": 25}
    stream = live_views.stream(examples, **options)
    batches = list(stream.batches(2).take(3).as_numpy_iterator())
    assert [len(batch["image"]) for batch in batches] == [25, 25, 10]
    ids = np.concatenate([batch["sample_id"] for batch in batches])
    assert sorted(ids) == list(IDS)
    labels = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(labels, (ids - 1_000) % 3)
    expected = views(IMAGES[ids - 1_000], ids, pass_index=2, seed=5)
    found = np.concatenate([batch["image"] for batch in batches])
    np.testing.assert_array_equal(found, expected)
