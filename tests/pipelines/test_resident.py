"""Passes held in memory against the reader: the same tensors, the same training."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.experiments.student import stored_stream
from kerasdistill.models import urban
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes.base import Student, Training
from kerasdistill.training.distillation_models import LogitRegressionModel
from kerasdistill.training.fit import fit
from pipelines import distillation_set
from pipelines.stored import resident
from pipelines.views import live_views

SAMPLES, BLOCK = 41, 8
ALONE = tf.distribute.get_strategy()
CNN = Student(
    filters=(3, 4),
    hidden=(6,),
    bottleneck=None,
    kernel=3,
    dropout_rates=(0.2, 0.2, 0.3),
    weight_decay=1e-3,
)
THREE_EPOCHS = Training(
    learning_rate=0.01, momentum=0.9, batch_size=10, schedule="cosine", epochs=3
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sets of two passes, made once for all tests of this module, by store."""
    return {}, tmp_path_factory.mktemp("made")


@pytest.fixture
def opened(made, make_set, image_data):
    """The function that opens the set with a store."""

    def open_set(store):
        sets, folder = made
        if store not in sets:
            sets[store] = make_set(store=store, output=str(folder / store))
        return distillation_set.open(sets[store].distillation_set, data=image_data)

    return open_set


def held(stored, *, batch_size=10, keep=False, strategy=ALONE):
    return resident.stream(
        stored, batch_size=batch_size, passes=2, keep=keep, strategy=strategy
    )


def epoch_batches(stream, epoch):
    """What the training steps of an epoch see."""
    stream.prepare(epoch)
    steps = stream.batches(epoch).take(stream.steps_per_epoch)
    whole = stream.complete or dict
    return [
        {name: np.array(value) for name, value in whole(step).items()} for step in steps
    ]


# A last batch of one view, of a full batch, a batch over blocks, one for all, too big.
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    "batch_size",
    [10, SAMPLES, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 12, 64))],
)
def test_batches_are_the_readers(opened, batch_size, keep):
    replay = opened("replay")
    stream = held(replay, batch_size=batch_size, keep=keep)
    assert stream.steps_per_epoch == replay.steps_per_pass(batch_size)
    assert stream.examples_per_epoch == SAMPLES
    for epoch in (0, 1, 2):
        expected = opened("images").dataset(batch_size, first_pass=epoch % 2, passes=1)
        found = epoch_batches(stream, epoch)
        assert len(found) == stream.steps_per_epoch
        for left, right in zip(expected.as_numpy_iterator(), found, strict=True):
            assert set(left) == set(right)
            for name in left:
                assert left[name].dtype == right[name].dtype
                np.testing.assert_array_equal(left[name], right[name])


def test_the_pipeline_carries_numbers_alone(opened):
    expected = {"place": tf.TensorSpec([None], tf.int64)}
    assert held(opened("replay")).batches(0).element_spec == expected


@pytest.mark.parametrize(("keep", "expected"), [(False, [0, 1, 0]), (True, [0, 1])])
def test_only_a_kept_pass_is_not_made_again(opened, keep, expected, monkeypatch):
    replay = opened("replay")
    stream = held(replay, keep=keep)
    asked = []
    read = replay.pass_records
    monkeypatch.setattr(
        replay, "pass_records", lambda index: (asked.append(index), read(index))[1]
    )
    for epoch in (0, 1, 2):
        stream.prepare(epoch)
    assert asked == expected


def stream_of(opened, way, strategy=ALONE):
    if way in ("images", "replay"):
        return stored_stream(opened(way), batch_size=10, passes=2)
    return held(opened("replay"), keep=way == "kept", strategy=strategy)


def train(stream, directory, data, *, strategy=ALONE, clip_norm=None):
    with strategy.scope():
        model = urban.build(CNN, image_shape=(8, 8, 3), num_classes=3, seed=0)
        shell = LogitRegressionModel(model, clip_norm=clip_norm)
    result = fit(
        shell,
        train=stream,
        validation=live_views.for_scoring(data.validation),
        training=THREE_EPOCHS,
        directory=directory,
    )
    rows = [
        {key: value for key, value in row.items() if "seconds" not in key}
        for row in result.history
    ]
    return weights_digest(model), rows


def dying(healthy, *, after_steps):
    """The same data, but reading on after so many batches fails."""

    def fail(batch):
        never = tf.debugging.assert_less(tf.size(list(batch.values())[-1]), 0)
        with tf.control_dependencies([never]):
            return {key: tf.identity(value) for key, value in batch.items()}

    def batches(first_epoch):
        data = healthy.batches(first_epoch)
        return data.take(after_steps).concatenate(data.map(fail))

    return dataclasses.replace(healthy, batches=batches)


def test_training_is_the_same_bit_for_bit(opened, image_data, tmp_path):
    """In the third epoch the first pass comes again."""
    piped, kept = (
        train(stream_of(opened, way), tmp_path / way, image_data)
        for way in ("images", "kept")
    )
    assert piped == kept


@pytest.mark.slow
def test_ways_may_change_where_a_training_is_interrupted(opened, image_data, tmp_path):
    expected, *others = (
        train(stream_of(opened, way), tmp_path / way, image_data)
        for way in ("images", "replay", "resident")
    )
    assert others == [expected] * 2
    for first, then in (("kept", "kept"), ("resident", "images"), ("replay", "kept")):
        folder = tmp_path / f"{first} then {then}"
        with pytest.raises(tf.errors.InvalidArgumentError):  # in the second epoch
            train(dying(stream_of(opened, first), after_steps=7), folder, image_data)
        assert train(stream_of(opened, then), folder, image_data) == expected


@pytest.mark.slow
def test_two_replicas_share_the_same_batches(
    opened, image_data, tmp_path, two_replicas
):
    piped, resident = (
        train(
            stream_of(opened, way, two_replicas),
            tmp_path / way,
            image_data,
            strategy=two_replicas,
            clip_norm=1.0,
        )
        for way in ("replay", "resident")
    )
    assert piped == resident


def test_a_view_that_differs_is_refused_in_any_pass(opened, image_data):
    replay = opened("replay")
    pixels = image_data.train.images.copy()
    pixels[replay.manifest.layout.rows(1)[-1]] ^= 255
    changed = dataclasses.replace(image_data.train, images=pixels)
    wrong = distillation_set.DistillationSet(
        replay.path, replay.manifest, dataclasses.replace(image_data, train=changed)
    )
    with (
        pytest.raises(StaleArtifactError, match="re-made from their seeds.*finger"),
        wrong.reading(),
    ):
        held(wrong).prepare(1)


def test_memory_needed(opened):
    a_pass = SAMPLES * (8 * 8 * 3 + 3 * 4 + 8 + 8)
    stored = opened("replay")
    assert resident.bytes_needed(stored, kept=0) == 4 * a_pass
    assert resident.bytes_needed(stored, kept=20) == 22 * a_pass


def test_a_device_without_memory_for_a_pass_is_a_bad_request(opened, monkeypatch):
    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(resident.tf, "zeros", full)
    with pytest.raises(UserError, match="no memory left.*41 views.*`resident="):
        held(opened("replay"))
