"""A new source, view, store and target each take one entry of one dict.

Toys of each kind, from here alone: nothing of the product knows of them.
"""

import argparse
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.cli import distilling_options
from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.recipes.base import CropAugmentation, Shifts
from kerasdistill.seeds import view_seeds
from pipelines import datasets, distillation_set
from pipelines.sources.examples import Raw
from pipelines.stored import resident, verification
from pipelines.stored.averaging import mean_logits
from pipelines.stored.integrity import read_manifest
from pipelines.stored.stores import STORES, Store
from pipelines.stored.targets import TARGETS, Target
from pipelines.views import augment, live_views
from pipelines.views.draws import uniform
from pipelines.views.view import Mixed, View

BLOCK, SEED = 8, 5  # of the sets that `make_set` makes
ALONE = tf.distribute.get_strategy()


def whole(batches) -> dict[str, np.ndarray]:
    """All batches as one."""
    batches = list(batches)
    return {
        name: np.concatenate([np.array(batch[name]) for batch in batches])
        for name in batches[0]
    }


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert set(left) == set(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


@pytest.fixture
def opened(make_set, image_data):
    """The function that makes a set and opens it."""

    def make(name, **changes):
        data = changes.get("data", image_data)
        made = make_set(name, **changes)
        return distillation_set.open(made.distillation_set, data=data)

    return make


# A source


@dataclass(frozen=True)
class Stripes:
    """Images that are made when they are read, each of its sample id."""

    labels: np.ndarray
    sample_ids: np.ndarray
    image_shape: tuple[int, int, int]
    in_memory = False

    def __len__(self):
        return len(self.labels)

    @property
    def images(self):
        return self.read(np.arange(len(self)))

    def read(self, places):
        rows = np.arange(self.image_shape[0])[None, :, None, None]
        ids = self.sample_ids[places][:, None, None, None]
        shape = (len(places), *self.image_shape)
        return np.broadcast_to((rows * 7 + ids * 13) % 256, shape).astype(np.uint8)

    def take(self, places):
        rows = self.labels[places], self.sample_ids[places]
        return Stripes(*rows, self.image_shape)


def read_stripes(request: datasets.Request) -> Raw:
    ids = np.arange(int(request.name))
    train = Stripes(ids % 3, ids, request.image_shape)
    return Raw(f"toy:{request.name}", "1", ("a", "b", "c"), train, None)


@pytest.fixture
def stripes(monkeypatch):
    monkeypatch.setitem(datasets.SOURCES, "toy:", read_stripes)
    return datasets.load("toy:40", image_shape=(8, 8, 3))


def test_a_source_is_loaded_by_its_name(stripes):
    splits = [stripes.split(name) for name in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [25, 6, 9]
    assert stripes.image_shape == (8, 8, 3) and stripes.num_classes == 3
    in_memory = datasets.Examples(
        stripes.train.images, stripes.train.labels, stripes.train.sample_ids
    )
    how = {"augmentation": CropAugmentation(pad=2), "seed": 1, "batch_size": 10}
    read, held = (
        live_views.stream(examples, **how).batches(0).take(3)
        for examples in (stripes.train, in_memory)
    )
    same(whole(read), whole(held))
    scored = live_views.for_scoring(stripes.train, batch_size=10)
    same(whole(scored), whole(live_views.for_scoring(in_memory, batch_size=10)))


def test_a_source_makes_a_set(stripes, opened):
    shifts = Shifts(pixels=2)  # whose seeds depend on the pass in a way of their own
    images, replay = (
        opened(store, store=store, data=stripes, augmentation=shifts)
        for store in ("images", "replay")
    )
    expected = whole(images.dataset(10))
    same(expected, whole(replay.dataset(10)))
    assert set(expected["sample_id"]) == set(stripes.train.sample_ids)
    by_name = distillation_set.open(replay.path)  # loads the data
    same(expected, whole(by_name.dataset(10)))
    verification.check_content(by_name, data=stripes)


# A view


@dataclass(frozen=True)
class Blend:
    """Two images, one over the other."""

    least: float = 0.5


@tf.function(jit_compile=True)
def blend(images, seeds, augmentation):
    count = tf.shape(images)[0]
    which, share = tf.unstack(uniform(seeds, 2), axis=1)
    partner = tf.cast(which * tf.cast(count, tf.float32), tf.int32)
    partner = tf.minimum(partner, count - 1)
    share = augmentation.least + (1.0 - augmentation.least) * share
    weight, pixels = share[:, None, None, None], tf.cast(images, tf.float32)
    mixed = weight * pixels + (1.0 - weight) * tf.gather(pixels, partner)
    pixels = tf.cast(tf.round(mixed), tf.uint8)
    return Mixed(pixels, tf.cast(partner, tf.int64), share)


@pytest.fixture
def blends(monkeypatch):
    monkeypatch.setitem(augment.VIEWS, Blend, View(blend, mixes=True))
    return Blend(least=0.6)


def expected_blends(batch, data, *, pass_index, seed, filled):
    """What `blend` makes of the images in a block, filled up by itself in turn."""
    places = np.arange(filled) % len(batch["label"])
    ids = batch["sample_id"][places]
    seeds = view_seeds(ids, pass_index=pass_index, seed=seed)
    which, share = uniform(tf.constant(seeds), 2).numpy().T
    partner = (which * filled).astype(int) % len(batch["label"])
    images = data.train.images[batch["sample_id"]].astype("f8")
    share = (0.6 + 0.4 * share)[: len(images)]
    weight, partner = share[:, None, None, None], partner[: len(images)]
    return {
        "image": weight * images + (1 - weight) * images[partner],
        "partner_label": batch["label"][partner],
        "share": share,
    }


def check_blends(batch, expected):
    np.testing.assert_allclose(batch["image"], expected["image"], atol=0.51)
    np.testing.assert_array_equal(batch["partner_label"], expected["partner_label"])
    np.testing.assert_allclose(batch["share"], expected["share"], atol=1e-6)
    assert batch["partner_label"].dtype == np.int64
    assert batch["share"].dtype == np.float32


def test_a_view_mixes_images_live(blends, image_data):
    stream = live_views.stream(
        image_data.train, augmentation=blends, seed=3, batch_size=10
    )
    for batch in stream.batches(2).take(5).as_numpy_iterator():
        where = {"pass_index": 2, "seed": 3, "filled": len(batch["label"])}
        check_blends(batch, expected_blends(batch, image_data, **where))


def test_a_view_mixes_images_in_both_stores(blends, opened, image_data):
    images, replay = (
        opened(store, store=store, augmentation=blends)
        for store in ("images", "replay")
    )
    assert images.manifest.augmentation == {"kind": "Blend", "least": 0.6}
    assert images.manifest.content_digest == replay.manifest.content_digest
    blocks = list(replay.dataset(BLOCK, passes=1).as_numpy_iterator())
    assert [len(block["label"]) for block in blocks] == [8] * 5 + [1]
    for block in blocks:
        where = {"pass_index": 0, "seed": SEED, "filled": BLOCK}
        check_blends(block, expected_blends(block, image_data, **where))
    expected = whole(images.dataset(10))
    same(expected, whole(replay.dataset(10)))  # batches with parts of two blocks
    same(whole(blocks), {name: x[:41] for name, x in expected.items()})
    held = resident.stream(replay, batch_size=10, passes=2, keep=True, strategy=ALONE)
    held.prepare(1)
    steps = held.batches(1).take(held.steps_per_epoch)
    second = {name: x[41:] for name, x in expected.items()}
    same(whole(held.complete(step) for step in steps), second)
    for stored in (images, replay):
        verification.check_content(stored, data=image_data)


def test_how_images_were_mixed_is_part_of_the_content(blends, opened, monkeypatch):
    first = opened("first", augmentation=blends).manifest.content_digest

    def other(images, seeds, augmentation):
        made = blend(images, seeds, augmentation)
        return made._replace(share=1.0 - made.share)

    monkeypatch.setitem(augment.VIEWS, Blend, View(other, mixes=True))
    assert opened("other", augmentation=blends).manifest.content_digest != first


# A store


def as_png(block):
    """The block's views, one below the other."""
    column = block.pixels.reshape(-1, *block.pixels.shape[2:])
    return {"picture": tf.io.encode_png(column).numpy()}


def from_png(example, image_shape):
    pixels = tf.io.decode_png(example["picture"], channels=image_shape[-1])
    return {"image": tf.reshape(pixels, [-1, *image_shape])}


@pytest.fixture
def png(monkeypatch):
    store = Store(
        needs_data=False,
        features={"picture": bytes},
        encode=as_png,
        decode=from_png,
        bytes_per_view=lambda image_shape: 2 * int(np.prod(image_shape)),
    )
    monkeypatch.setitem(STORES, "png", store)


def test_a_store_holds_the_same_views(png, opened, image_data):
    pictures, images = opened("a", store="png"), opened("b", store="images")
    same(whole(pictures.dataset(10)), whole(images.dataset(10)))
    assert read_manifest(pictures.path).store == "png"
    assert pictures.manifest.content_digest == images.manifest.content_digest
    verification.check_content(pictures, data=image_data)


def test_the_command_line_takes_a_store(png):
    parser = argparse.ArgumentParser()
    distilling_options.precompute(parser)
    words = ["--teacher", "t.keras", "--store", "png"]
    assert parser.parse_args(words).store == "png"


# A target


def pooled(teacher, layer):
    return teacher.layers[-2].output if not layer else teacher.get_layer(layer).output


@pytest.fixture
def features(monkeypatch):
    target = Target("teacher_pooled", tap=pooled, joined=mean_logits)
    monkeypatch.setitem(TARGETS, "pooled", target)


@pytest.fixture
def pair(teacher_path, tmp_path):
    """Two teachers' files."""
    other = keras.models.load_model(teacher_path)
    for weight in other.trainable_variables:
        weight.assign(weight * 0.5)
    other.save(tmp_path / "other.keras")
    return [teacher_path, str(tmp_path / "other.keras")]


@pytest.mark.parametrize(
    ("store", "keep_members"),
    [("images", False), pytest.param("replay", True, marks=pytest.mark.slow)],
)
def test_a_target_comes_back_beside_the_logits(
    features, opened, image_data, pair, store, keep_members
):
    how = {"store": store, "keep_members": keep_members, "teacher_paths": pair}
    stored = opened("kept", **how, targets=["pooled"])
    expected = {"pooled": {"shape": [4], "encoding": "float32"}}
    assert stored.manifest.to_json()["targets"] == expected
    batch = whole(stored.dataset(10))
    models = [keras.models.load_model(path) for path in pair]
    images = batch["image"].astype("f4")
    taps = [keras.Model(m.inputs[0], m.layers[-2].output)(images) for m in models]
    mean = np.mean(taps, axis=0)
    np.testing.assert_allclose(batch.pop("teacher_pooled"), mean, atol=1e-6)
    plain = opened("plain", **how)
    assert "targets" not in plain.manifest.to_json()
    found = whole(plain.dataset(10))
    logits = batch.pop("teacher_logits"), found.pop("teacher_logits")
    np.testing.assert_allclose(*logits, atol=1e-6)
    same(batch, found)
    assert plain.manifest.content_digest != stored.manifest.content_digest
    verification.check_content(stored, data=image_data)
    teachers = dict(enumerate(models))
    verification.verify(stored, teachers, sample=41, seed=0)


def test_a_target_is_verified(features, opened, teacher_path, monkeypatch):
    teachers = {0: keras.models.load_model(teacher_path)}
    name = f"pooled:{teachers[0].layers[-2].name}"
    stored = opened("kept", targets=[name])
    assert stored.manifest.targets[name]["shape"] == [4]
    verification.verify(stored, teachers, sample=41, seed=0)
    other = Target(
        "teacher_pooled", tap=pooled, joined=lambda each: mean_logits(each) + 0.01
    )
    monkeypatch.setitem(TARGETS, "pooled", other)
    with pytest.raises(UserError, match="differ by up to 0.01 in a value of pooled:"):
        verification.verify(stored, teachers, sample=41, seed=0)


def test_a_set_has_the_targets_it_was_made_with(features, opened, make_set):
    longer = {"targets": ["pooled"], "passes": 3}
    expected = opened("at once", **longer).manifest.content_digest
    opened("joined", targets=["pooled"])
    assert make_set("joined", **longer).content_digest == expected
    plain = opened("plain")
    for name, targets in (("joined", []), ("plain", ["pooled"])):
        with pytest.raises(StaleArtifactError, match="field targets"):
            make_set(name, targets=targets)
    with pytest.raises(UserError, match="target 'hints' is not among.*pooled"):
        make_set("other", targets=["hints"])
    with pytest.raises(UserError, match="pooled, pooled:last would have one name"):
        make_set("other", targets=["pooled", "pooled:last"])
    assert "teacher_pooled" not in whole(plain.dataset(10))
