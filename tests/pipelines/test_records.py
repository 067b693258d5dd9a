import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipelines.stored import records

SHAPE = (4, 4, 3)


@pytest.fixture
def block():
    generator = np.random.default_rng(0)
    return records.Block(
        pass_index=2,
        block_index=7,
        sample_ids=np.array([90, 3, 1 << 40], np.int64),
        labels=np.array([1, 0, 4], np.int64),
        seeds=np.array([-5, 0, 1 << 62], np.int64),
        pixels=generator.integers(0, 256, (3, *SHAPE)).astype(np.uint8),
        logits=generator.normal(size=(3, 5)).astype(np.float32),
    )


def decode(block, store):
    serialized = tf.constant(records.encode(block, store=store))
    return records.decode(serialized, store=store, image_shape=SHAPE, num_classes=5)


@pytest.mark.parametrize(("store", "kept"), [("images", "pixels"), ("replay", "seeds")])
def test_a_block_survives_the_round_trip(block, store, kept):
    fields = decode(block, store)
    assert int(fields["pass_index"]) == 2
    assert int(fields["block_index"]) == 7
    np.testing.assert_array_equal(fields["sample_id"], block.sample_ids)
    np.testing.assert_array_equal(fields["label"], block.labels)
    np.testing.assert_array_equal(fields["teacher_logits"], block.logits)
    name = "image" if kept == "pixels" else kept
    np.testing.assert_array_equal(fields[name], getattr(block, kept))
    assert ("image" in fields) != ("seeds" in fields)


def test_the_fingerprint_is_that_of_the_pixels_in_both_stores(block):
    expected = records.pixel_fingerprint(tf.constant(block.pixels))
    for store in ("images", "replay"):
        np.testing.assert_array_equal(
            decode(block, store)["pixel_fingerprint"], expected
        )
    changed = block.pixels.copy()
    changed[2, 3, 3, 2] ^= 1
    assert (records.pixel_fingerprint(tf.constant(changed)) != expected).numpy().any()


@pytest.mark.parametrize(
    "field", ["pass_index", "block_index", "sample_ids", "labels", "pixels", "logits"]
)
def test_the_digest_covers_everything_a_student_sees(block, field):
    value = getattr(block, field)
    changed = value + 1 if isinstance(value, int) else value.copy()
    if not isinstance(value, int):
        changed.flat[-1] += 1
    assert dataclasses.replace(block, **{field: changed}).digest() != block.digest()


def test_the_digest_does_not_depend_on_how_views_are_kept(block):
    other_seeds = dataclasses.replace(block, seeds=block.seeds + 1)
    assert other_seeds.digest() == block.digest()


def test_records_decode_inside_a_pipeline_with_known_shapes(block):
    serialized = [records.encode(block, store="images")] * 2
    dataset = tf.data.Dataset.from_tensor_slices(serialized).map(
        lambda record: records.decode(
            record, store="images", image_shape=SHAPE, num_classes=5
        )
    )
    assert dataset.element_spec["image"].shape.as_list() == [None, *SHAPE]
    assert dataset.element_spec["teacher_logits"].shape.as_list() == [None, 5]
    assert len(list(dataset)) == 2


@pytest.mark.parametrize("store", ["images", "replay"])
def test_the_planned_bytes_hold_a_record(block, store):
    pixels = np.zeros((512, 32, 32, 3), np.uint8)
    large = dataclasses.replace(
        block,
        sample_ids=np.arange(512) + 30_000,
        labels=np.arange(512) % 10,
        seeds=np.full(512, -1),
        pixels=pixels,
        logits=np.zeros((512, 10), np.float32),
    )
    planned = 512 * records.bytes_per_view(
        store=store, image_shape=pixels.shape[1:], num_classes=10
    )
    size = len(records.encode(large, store=store))
    assert size <= planned <= 1.25 * size
