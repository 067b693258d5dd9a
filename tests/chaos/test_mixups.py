"""Whole files and views in the wrong place: refused, with the file and field named."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import sha256_file
from kerasdistill.recipes.base import Augmentation, fields
from pipelines import datasets, distillation_set
from pipelines.stored import verification
from pipelines.stored.integrity import sealed
from tests.chaos.program import EXAMPLES


@pytest.fixture(scope="module")
def data():
    """What the commands load as digits."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datasets, "QUICK_EXAMPLES", EXAMPLES)
        yield datasets.load("digits", quick=True)


@pytest.fixture
def stored(inputs, tmp_path) -> Path:
    return Path(shutil.copytree(inputs.images, tmp_path / "distillation_set"))


def refused(path, *says: str, **how) -> None:
    with pytest.raises(StaleArtifactError) as caught:
        distillation_set.open(path, **how)
    assert all(word in str(caught.value) for word in says), str(caught.value)


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.glob("pass-*.tfrecord-*"))


def test_two_shards_swapped(stored):
    first, second = names(stored)
    (stored / first).rename(stored / "aside")
    (stored / second).rename(stored / first)
    (stored / "aside").rename(stored / second)
    refused(stored, f"shard {first} is swapped: it holds {second}")


def test_a_shard_that_is_gone(stored):
    (stored / names(stored)[1]).unlink()
    refused(stored, f"shard {names(stored)[0].replace('00000.', '00001.')} is missing")


def test_shards_of_two_runs(stored, other):
    name = names(stored)[0]
    assert names(other) == names(stored)
    shutil.copy(other / name, stored / name)
    refused(stored, name)
    # With the other's manifest it is the second shard that is a stranger.
    shutil.copy(other / "manifest.json", stored / "manifest.json")
    refused(stored, names(stored)[1])


def rewritten(path: Path, change) -> None:
    """A shard whose examples are changed, each a block, as a tool would write them."""
    examples = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        examples.append(tf.train.Example.FromString(record))
        change(examples[-1].features.feature)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString(deterministic=True))


def swap_labels(feature) -> None:
    labels = feature["labels"].int64_list.value
    different = next(i for i, label in enumerate(labels) if label != labels[0])
    labels[0], labels[different] = labels[different], labels[0]


def permute_logits(feature) -> None:
    stored = feature["logits"].bytes_list
    logits = np.frombuffer(stored.value[0], "<f4").reshape(-1, 10)
    stored.value[0] = np.roll(logits, 1, axis=0).tobytes()


@pytest.mark.parametrize("change", [swap_labels, permute_logits])
def test_views_changed_in_a_shard(stored, change):
    name = names(stored)[0]
    size = (stored / name).stat().st_size
    rewritten(stored / name, change)
    assert (stored / name).stat().st_size == size
    refused(stored, name, "sha256 differs")


@pytest.mark.parametrize("change", [swap_labels, permute_logits])
def test_changed_views_under_fitting_checksums(stored, change, data):
    """Whoever rewrites shard and manifest alike is found out by `verify`."""
    name = names(stored)[0]
    rewritten(stored / name, change)
    manifest = json.loads((stored / "manifest.json").read_text())
    manifest.pop("manifest_sha256")
    for shard in manifest["shards"]:
        if shard["name"] == name:
            shard["sha256"] = sha256_file(stored / name)
    (stored / "manifest.json").write_text(json.dumps(sealed(manifest)))
    opened = distillation_set.open(stored, data=data)
    with pytest.raises(StaleArtifactError, match=f"field content_digest.*{stored}"):
        verification.check_content(opened, data=data)


@pytest.mark.parametrize("store", ["images", "replay"])
def test_whole_content_has_its_digest(inputs, store, data):
    opened = distillation_set.open(getattr(inputs, store), data=data)
    verification.check_content(opened, data=data)


def test_another_augmentation_constant(inputs):
    for field, value in (("hue", 0.07), ("min_crop", 25), ("mirror", False)):
        asked = dataclasses.replace(Augmentation(), **{field: value})
        refused(
            inputs.images,
            f"field augmentation.{field}",
            repr(value),
            expect={"augmentation": fields(asked)},
        )


def test_another_transfer_set(inputs, data):
    images = data.train.images.copy()
    images[0, 0, 0, 0] ^= 1
    labels = data.train.labels[::-1].copy()
    for change in ({"images": images}, {"labels": labels}):
        train = dataclasses.replace(data.train, **change)
        splits = {"train": train, "validation": data.validation, "test": data.test}
        digest = datasets._digest(splits, data.class_names)
        changed = dataclasses.replace(data, train=train, digest=digest)
        refused(inputs.images, "field dataset.digest", data=changed)


def test_class_names_in_another_order(inputs, data):
    changed = dataclasses.replace(data, class_names=data.class_names[::-1])
    refused(inputs.images, "field class_names[0]", "'9'", data=changed)


def test_another_teacher_in_the_same_place(server, inputs, tmp_path):
    """A set is not gone on with by, and not verified against, other weights."""
    cwd = tmp_path / "cwd"
    made = Path(inputs.images)
    run = shutil.copytree(made.parent, cwd / "runs" / made.parent.name)
    stored = run / made.name
    teacher = Path(shutil.copytree(Path(inputs.teacher).parent, cwd / "teacher"))
    line = f"--teacher {teacher / 'model.keras'}"
    changed = keras.models.load_model(inputs.teacher, compile=False)
    changed.set_weights([1.5 * weight for weight in changed.get_weights()])
    changed.save(teacher / "model.keras")
    for command in (
        f"precompute --extend {stored} --passes 3 {line}",
        f"ensemble {line}",
        f"evaluate {teacher / 'model.keras'}",
        f"export {teacher / 'model.keras'} --name x",
    ):
        ended = server.run(command, cwd)
        assert "weights_digest" in ended.error and "card.json" in ended.error
    (teacher / "card.json").unlink()
    ended = server.run(f"precompute --extend {stored} --passes 3 --force {line}", cwd)
    assert "field teachers[0].weights_digest" in ended.error
    ended = server.run(f"verify {stored} {line}", cwd)
    assert "was not found" in ended.error


def test_shards_that_change_while_they_are_read(stored, data):
    """TFRecord's own checksums are looked at again on reading."""
    opened = distillation_set.open(stored, data=data)
    name = stored / names(stored)[0]
    content = bytearray(name.read_bytes())
    content[len(content) // 2] ^= 1
    name.write_bytes(content)
    with pytest.raises(StaleArtifactError, match=name.name), opened.reading():
        list(opened.dataset(16))
    name.unlink()
    with pytest.raises(UserError, match=name.name), opened.reading():
        list(opened.dataset(16))
