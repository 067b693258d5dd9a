import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from pipelines import distillation_set
from pipelines.stored.integrity import sealed
from pipelines.stored.layout import VALIDATION_PASS, Layout
from pipelines.stored.manifest import Manifest, first_difference
from pipelines.views import augment

SAMPLES = 41


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sets made once for all tests of this module, by store."""
    return {}, tmp_path_factory.mktemp("made")


@pytest.fixture
def images(made, make_set, tmp_path):
    return copied("images", made, make_set, tmp_path)


@pytest.fixture
def replay(made, make_set, tmp_path):
    return copied("replay", made, make_set, tmp_path)


def copied(store, made, make_set, tmp_path):
    """A copy that a test may damage."""
    sets, folder = made
    if store not in sets:
        sets[store] = make_set(store=store, output=str(folder / store))
    return Path(shutil.copytree(sets[store].distillation_set, tmp_path / store))


def read(path, batch_size=10, *, data=None, **arguments):
    opened = distillation_set.open(path, data=data)
    return list(opened.dataset(batch_size, **arguments).as_numpy_iterator())


def ids(batches):
    return np.concatenate([batch["sample_id"] for batch in batches])


def edit_manifest(path, **changes):
    """Other fields under a checksum that fits them."""
    file = path / "manifest.json"
    fields = json.loads(file.read_text())
    fields.pop("manifest_sha256")
    file.write_text(json.dumps(sealed({**fields, **changes})))


def test_both_stores_yield_identical_tensors_in_the_same_order(
    images, replay, image_data
):
    stored, remade = read(images), read(replay, data=image_data)
    assert len(stored) == len(remade) == 2 * 5
    for left, right in zip(stored, remade, strict=True):
        assert set(left) == {"image", "teacher_logits", "label", "sample_id"}
        for name in left:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name])


def test_a_pass_holds_every_sample_once_with_its_own_label(images, image_data):
    batches = read(images, passes=1)
    assert sorted(ids(batches)) == sorted(image_data.train.sample_ids)
    labels = dict(
        zip(image_data.train.sample_ids, image_data.train.labels, strict=True)
    )
    for batch in batches:
        expected = [labels[sample_id] for sample_id in batch["sample_id"]]
        np.testing.assert_array_equal(batch["label"], expected)


def test_passes_differ_in_order_and_in_views(images):
    first, second = read(images, SAMPLES)
    assert not np.array_equal(first["sample_id"], second["sample_id"])
    by_id = np.argsort(first["sample_id"]), np.argsort(second["sample_id"])
    assert not np.array_equal(first["image"][by_id[0]], second["image"][by_id[1]])


def test_a_batch_never_crosses_the_end_of_a_pass(images):
    sizes = [len(batch["label"]) for batch in read(images, 12)]
    assert sizes == [12, 12, 12, 5] * 2
    opened = distillation_set.open(images)
    assert opened.steps_per_pass(12) == 4
    assert len(opened.dataset(12)) == 8
    np.testing.assert_array_equal(
        ids(read(images, 12, first_pass=1)), ids(read(images, 7)[6:])
    )


def test_the_specification_is_the_one_models_are_trained_on(images):
    spec = distillation_set.open(images).dataset(10).element_spec
    assert spec["image"].shape.as_list() == [None, 8, 8, 3]
    assert spec["image"].dtype.name == "uint8"
    assert spec["teacher_logits"].shape.as_list() == [None, 3]
    assert spec["teacher_logits"].dtype.name == "float32"
    assert spec["label"].dtype.name == spec["sample_id"].dtype.name == "int64"


def test_passes_that_are_not_stored_are_refused(images):
    with pytest.raises(UserError, match="which has 2; ask for fewer"):
        read(images, passes=3)
    with pytest.raises(UserError, match="0 passes from 0"):
        read(images, passes=0)
    with pytest.raises(UserError, match="first_pass 2"):
        read(images, first_pass=2)


def test_a_later_pass_can_be_read_alone(images):
    _, second = read(images, SAMPLES)
    (alone,) = read(images, SAMPLES, first_pass=1)
    np.testing.assert_array_equal(alone["image"], second["image"])


def test_an_empty_batch_is_refused(images):
    with pytest.raises(UserError, match="batch size is 0"):
        distillation_set.open(images).dataset(0)


def test_the_order_does_not_depend_on_shards():
    few = Layout(100, 20, passes=2, seed=1, block_views=8, views_per_shard=64)
    many = dataclasses.replace(few, views_per_shard=8)
    assert len(few.shards_of(1)) == 2 and len(many.shards_of(1)) == 13
    np.testing.assert_array_equal(few.rows(1), many.rows(1))
    for layout in (few, many):
        for index, samples, count in ((1, 100, 13), (VALIDATION_PASS, 20, 3)):
            shards = layout.shards_of(index)
            blocks = [block for s in shards for block in layout.shard_blocks(*s)]
            assert blocks == list(range(count))
            assert sum(layout.shard_views(*shard) for shard in shards) == samples


def test_more_passes_add_shards_and_rename_none():
    short = Layout(100, 20, passes=2, seed=1, block_views=8, views_per_shard=16)
    long = dataclasses.replace(short, passes=20)
    names = short.shard_names()
    assert set(names) < set(long.shard_names())
    assert names[-2:] == [
        "validation.tfrecord-00000-of-00002",
        "validation.tfrecord-00001-of-00002",
    ]
    assert names[0] == "pass-00000.tfrecord-00000-of-00007"


def test_a_class_sorted_transfer_set_still_gives_mixed_batches(make_set, image_data):
    by_class = np.argsort(image_data.train.labels, kind="stable")
    train = dataclasses.replace(
        image_data.train.take(by_class), sample_ids=np.arange(SAMPLES)
    )
    made = make_set(data=dataclasses.replace(image_data, train=train))
    for batch in read(made.distillation_set, 10, passes=1)[:4]:
        assert len(set(batch["label"])) == 3


def test_a_missing_shard_is_named(images):
    shard = sorted(images.glob("*.tfrecord-*"))[3]
    shard.unlink()
    with pytest.raises(StaleArtifactError, match=f"{shard.name} is missing"):
        distillation_set.open(images)


def test_a_truncated_shard_is_named(images):
    shard = sorted(images.glob("*.tfrecord-*"))[1]
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(StaleArtifactError, match=f"{shard.name} is truncated"):
        distillation_set.open(images)


def test_a_flipped_byte_is_noticed_and_its_shard_named(images):
    shard = sorted(images.glob("*.tfrecord-*"))[2]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StaleArtifactError, match=f"{shard.name} is damaged"):
        distillation_set.open(images)


def test_swapped_shards_are_named(images):
    first, second = sorted(images.glob("pass-*-00000-of-*"))
    assert first.stat().st_size == second.stat().st_size
    shutil.move(first, images / "aside")
    shutil.move(second, first)
    shutil.move(images / "aside", second)
    message = f"{first.name} is swapped: it holds {second.name}"
    with pytest.raises(StaleArtifactError, match=message):
        distillation_set.open(images)


def test_hashing_reports_its_progress(images):
    seen = []
    distillation_set.open(images, progress=lambda *state: seen.append(state))
    total = sum(path.stat().st_size for path in images.glob("*.tfrecord-*"))
    assert len(seen) == 7
    assert seen[-1] == (total, total)


def test_a_field_that_is_not_as_expected_is_named(images):
    assert distillation_set.open(images, expect={"augmentation": {"hue": 0.06}})
    with pytest.raises(StaleArtifactError, match=r"field augmentation\.hue is 0\.06"):
        distillation_set.open(images, expect={"augmentation": {"hue": 0.07}})
    with pytest.raises(StaleArtifactError, match=r"teachers\[0\]\.weights_digest"):
        distillation_set.open(images, expect={"teachers": [{"weights_digest": "0"}]})


def test_data_of_another_split_or_class_order_is_refused(
    images, image_data, other_split
):
    with pytest.raises(StaleArtifactError, match=r"field dataset\.(digest|split_seed)"):
        distillation_set.open(images, data=other_split)
    turned = dataclasses.replace(image_data, class_names=("star", "square", "circle"))
    with pytest.raises(StaleArtifactError, match=r"field class_names\[0\]"):
        distillation_set.open(images, data=turned)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema_version is 99, expected 2"),
        ({"store": "pictures"}, "field store"),
        ({"passes": 3}, "field views"),
        ({"seed": "5"}, "field seed"),
        ({"shards": [{"name": "a"}]}, r"shards\[0\]: field bytes is missing"),
        ({"shards": []}, "field shards"),
        ({"logits_dtype": "float64"}, "field logits_dtype"),
        ({"keep_members": 1}, "field keep_members"),
        ({"keep_members": True}, "field member_shards"),
        ({"stored_mean_of": 2}, "field stored_mean_of"),
        ({"averaging": "median"}, "field averaging"),
    ],
)
def test_a_damaged_manifest_names_its_field(images, changes, message):
    edit_manifest(images, **changes)
    with pytest.raises(StaleArtifactError, match=message):
        distillation_set.open(images)


def test_a_manifest_survives_the_round_trip(images):
    manifest = distillation_set.open(images).manifest
    value = json.loads(json.dumps(manifest.to_json()))
    assert Manifest.from_json(value) == manifest
    del value["averaging"]
    with pytest.raises(StaleArtifactError, match="field averaging is missing"):
        Manifest.from_json(value)


def test_an_unreadable_manifest_is_refused(images):
    (images / "manifest.json").write_text("{")
    with pytest.raises(StaleArtifactError, match=r"manifest\.json is not readable"):
        distillation_set.open(images)


def test_an_edited_manifest_is_refused(images):
    file = images / "manifest.json"
    before = file.read_text()
    assert '"hue": 0.06' in before
    file.write_text(before.replace('"hue": 0.06', '"hue": 0.07'))
    with pytest.raises(StaleArtifactError, match="manifest_sha256 does not fit"):
        distillation_set.open(images)


def test_an_unfinished_set_says_how_far_it_is_and_what_finishes_it(make_set):
    made = make_set(command="make it whole", store="replay")
    path = Path(made.distillation_set)
    (path / "manifest.json").unlink()
    next((path / "sidecars").iterdir()).unlink()
    message = "has 6 of 7 shards; finish it with: make it whole"
    with pytest.raises(UserError, match=message):
        distillation_set.open(path)


def test_a_folder_without_a_set_is_a_bad_request(tmp_path):
    with pytest.raises(UserError, match="is not a distillation set"):
        distillation_set.open(tmp_path)


@pytest.mark.parametrize("constant", ["hue", "min_crop"])
def test_replay_under_other_augmentation_constants_is_refused(
    replay, image_data, constant
):
    manifest = json.loads((replay / "manifest.json").read_text())
    changed = {**manifest["augmentation"], constant: 7 if constant == "min_crop" else 0}
    edit_manifest(replay, augmentation=changed)
    with pytest.raises(StaleArtifactError, match="cannot be replayed.*fingerprint"):
        distillation_set.open(replay, data=image_data)


def test_replay_by_other_augmentation_code_is_refused(replay, image_data, monkeypatch):
    monkeypatch.setattr(augment, "CODE_VERSION", augment.CODE_VERSION + 1)
    with pytest.raises(StaleArtifactError, match="augmentation_code_version"):
        distillation_set.open(replay, data=image_data)


def test_a_later_block_that_cannot_be_replayed_stops_the_reader(replay, image_data):
    opened = distillation_set.open(replay, data=image_data)
    train = image_data.train
    pixels = train.images.copy()
    last = opened.manifest.layout.rows(1)[-1]
    pixels[last] ^= 255
    changed = dataclasses.replace(
        image_data, train=dataclasses.replace(train, images=pixels)
    )
    wrong = distillation_set.DistillationSet(replay, opened.manifest, changed)
    with (
        pytest.raises(
            StaleArtifactError, match="re-made from their seeds.*pixel_finger"
        ),
        wrong.reading(),
    ):
        list(wrong.dataset(SAMPLES, first_pass=1))


def test_first_difference_names_the_deepest_field():
    expected = {"a": {"b": [1, {"c": 2}]}, "z": (1, 2)}
    assert first_difference(expected, {**expected, "z": [1, 2], "more": 0}) is None
    found = {"a": {"b": [1, {"c": 3}]}, "z": [1, 2]}
    assert first_difference(expected, found) == ("a.b[1].c", 2, 3)
    assert first_difference({"z": [1]}, found) == ("z", [1], [1, 2])
    assert first_difference({"y": 1}, found) == ("y", 1, None)


@pytest.mark.slow
def test_reading_does_not_import_beam():
    code = "import sys, pipelines.distillation_set; print('apache_beam' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_its_repr_says_how_much_there_is(images):
    opened = distillation_set.open(images)
    told = repr(opened)
    size = sum(file.stat().st_size for file in images.glob("*.tfrecord-*-of-?????"))
    assert str(images) in told and f"{size:,} bytes" in told
    assert "82 views in 2 passes of shapes, 3 classes, store images" in told
