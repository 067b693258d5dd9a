"""Distillation sets of crops: made, replayed, verified, and told from Urban's."""

from dataclasses import asdict

import keras
import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError
from kerasdistill.recipes.base import Augmentation, CropAugmentation
from kerasdistill.seeds import view_seeds
from pipelines import distillation_set
from pipelines.beam import probe
from pipelines.stored import resident, verification
from pipelines.stored.integrity import read_manifest
from pipelines.views import augment

from .test_resident import ALONE

pytestmark = pytest.mark.measured

CROPS = CropAugmentation(pad=2)


@pytest.fixture
def stored(make_set, image_data):
    """Both stores of the same views, opened."""
    return [
        distillation_set.open(
            make_set(store, store=store, augmentation=CROPS).distillation_set,
            data=image_data,
        )
        for store in ("images", "replay")
    ]


def test_stores_hold_the_views_of_the_crops(stored, image_data, teacher_path):
    images, replay = ([*each.dataset(10).as_numpy_iterator()] for each in stored)
    assert len(images) == len(replay) == 2 * 5
    for left, right in zip(images, replay, strict=True):
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])
    found = {name: np.concatenate([b[name] for b in images[:5]]) for name in images[0]}
    ids = found["sample_id"]
    seeds = view_seeds(ids, pass_index=0, seed=5)
    pixels = image_data.train.images[ids]
    views = augment.block(pixels, seeds, augmentation=CROPS)["image"]
    np.testing.assert_array_equal(found["image"], views)
    teacher = keras.models.load_model(teacher_path)
    expected = teacher.predict(found["image"].astype("f4"), verbose=0)
    np.testing.assert_allclose(found["teacher_logits"], expected, atol=1e-5)

    held = resident.stream(
        stored[1], batch_size=10, passes=2, keep=True, strategy=ALONE
    )
    held.prepare(1)
    batches = held.batches(1).take(held.steps_per_epoch)
    for batch, expected in zip(batches, images[5:], strict=True):
        for name, column in held.complete(batch).items():
            np.testing.assert_array_equal(column, expected[name])


def test_the_manifest_says_which_kind(stored, make_set, teacher_path, image_data):
    manifest = read_manifest(stored[1].path)
    assert manifest.augmentation == {"kind": "CropAugmentation", **asdict(CROPS)}
    again = verification.verify(
        stored[1], {0: keras.models.load_model(teacher_path)}, sample=50, seed=0
    )
    assert again.largest_logit_difference <= 1e-6
    with pytest.raises(StaleArtifactError, match="field augmentation"):
        make_set("replay", store="replay", augmentation=CropAugmentation(pad=1))
    with pytest.raises(StaleArtifactError, match="field augmentation"):
        distillation_set.open(
            stored[1].path, expect={"augmentation": augment.to_json(Augmentation())}
        )
    more = make_set("replay", store="replay", augmentation=CROPS, passes=3)
    assert (more.shards_skipped, more.views) == (7, 3 * 41)


def test_sets_of_earlier_versions_name_no_kind():
    urban = Augmentation(hue=0.1, min_crop=6)
    assert augment.to_json(urban) == asdict(urban)
    for made in (urban, CROPS):
        assert augment.from_json(augment.to_json(made)) == made
    for damaged in ({"kind": "Crop"}, {"pad": 4, "mirror": True}, {"kind": []}):
        with pytest.raises(ValueError, match="is no augmentation"):
            augment.from_json(damaged)


def test_the_probe_makes_crops(teacher_path, monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS", 0.0)
    asked = {"image_shape": (8, 8, 3), "augmentation": CROPS, "workers": 0}
    assert probe.measure([teacher_path], **asked).views_per_second > 0
