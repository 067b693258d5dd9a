"""What small sets and streams hold, to the bit, as it was in November 2026.

The teachers have small whole weights, so their logits are exact on any machine.
"""

import hashlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from packaging.version import Version

from kerasdistill.files import digest_of
from kerasdistill.models import loading
from kerasdistill.recipes.base import Augmentation, CropAugmentation, Shifts
from pipelines import datasets, distillation_set, precompute
from pipelines.scoring import signal_fields
from pipelines.sources.examples import Examples, ImageData
from pipelines.stored import verification
from pipelines.stored.integrity import SEAL, read_manifest, sealed
from pipelines.views import live_views

from .conftest import IN_THIS_PROCESS

VIEWS = {
    "urban": Augmentation(min_crop=6),
    "crops": CropAugmentation(pad=2),
    "shifts": Shifts(pixels=2, cutout=3),
}
# By views, store and whether members are kept: of the manifest without the machine.
MANIFESTS = {
    ("urban", "images", False): "a87708346b20d8313bd62f1a858e8548",
    ("urban", "images", True): "54e914febf1d19541a056179ed3590b6",
    ("urban", "replay", False): "c4108564fcbf48b66da44d9be4127027",
    ("urban", "replay", True): "6f87ff394c59e40eb41d18733d0db6af",
    ("crops", "images", False): "4489020ed4cc31301749fe71303ced17",
    ("crops", "images", True): "438da386fe9f8c3624a4206348bea836",
    ("crops", "replay", False): "fab317b6da7a133a82c1dd8359f6d5e5",
    ("crops", "replay", True): "6bd5d0419bbe9106c6bd3d6dc6ff330e",
}
# By views and whether members are kept; both stores hold the same.
CONTENTS = {
    ("urban", False): "f4ea9358124436a0d39bccff3afe58d0",
    ("urban", True): "676ea0611ba97cba1d7881d18e7ef701",
    ("crops", False): "0b06ee2d552b1a3ccb40df22ebf9a387",
    ("crops", True): "d90846e8c83f3187dfbd6530b0341939",
}
STREAMS = {
    "urban": "3b8c4cfc05f9ecdcf4ca20eaa075539a",
    "crops": "308d4d99c261894d22ad71ab8e7a507c",
    "shifts": "e471c88dc395ea18d552de32223cc465",
}


def exact_teacher(seed: int) -> keras.Model:
    """Pixels to ten logits, by whole weights from -1 to 1."""
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    weights = np.random.default_rng(seed).integers(-1, 2, (64, 10)).astype("f4")
    model.layers[-1].set_weights([weights, np.arange(10, dtype="f4")])
    return model


@pytest.fixture(scope="module")
def digits() -> ImageData:
    """Forty, fifteen and five of the digits as scikit-learn has them, 8x8 and grey."""
    data = datasets.load("digits", image_shape=(8, 8, 1))

    def few(split: Examples, count: int) -> Examples:
        return split.take(np.arange(count))

    return ImageData(
        **{
            **vars(data),
            "train": few(data.train, 41),
            "validation": few(data.validation, 15),
            "test": few(data.test, 5),
        }
    )


@pytest.fixture(scope="module")
def teacher_paths(tmp_path_factory) -> list[str]:
    folder, paths = tmp_path_factory.mktemp("exact"), []
    for seed in range(2):
        paths.append(str(folder / f"{seed}.keras"))
        exact_teacher(seed).save(paths[-1])
    return paths


def make(output: Path, data: ImageData, teacher_paths: list[str], **changes):
    arguments = {"passes": 2, "views_per_shard": 16, **changes}
    return precompute.run(
        teacher_paths=teacher_paths,
        data=data,
        output=str(output),
        seed=5,
        beam_options=IN_THIS_PROCESS,
        block_views=8,
        force=True,
        **arguments,
    )


def sets() -> list:
    """Half of them in the quick suite: each pair of two choices once."""
    return [
        pytest.param(*each, marks=pytest.mark.slow if number in (1, 2, 4, 7) else ())
        for number, each in enumerate(MANIFESTS)
    ]


@pytest.mark.parametrize(("views", "store", "keep_members"), sets())
def test_a_set_is_what_it_was(
    digits, teacher_paths, tmp_path, views, store, keep_members
):
    made = make(
        tmp_path / "set",
        digits,
        teacher_paths,
        augmentation=VIEWS[views],
        store=store,
        keep_members=keep_members,
    )
    manifest = read_manifest(tmp_path / "set").to_json()
    manifest["scoring"], manifest["environment"] = None, None  # of this machine
    assert made.content_digest[:32] == CONTENTS[views, keep_members]
    assert digest_of(manifest)[:32] == MANIFESTS[views, store, keep_members]


@pytest.mark.parametrize("views", VIEWS)
def test_a_stream_is_what_it_was(digits, views):
    stream = live_views.stream(
        digits.train, augmentation=VIEWS[views], seed=3, batch_size=16
    )
    digest = hashlib.sha256()
    batches = stream.batches(1).take(2 * stream.steps_per_epoch)
    for batch in batches.as_numpy_iterator():
        for name in sorted(batch):
            digest.update(f"{name} {batch[name].dtype} {batch[name].shape}\n".encode())
            digest.update(batch[name].tobytes())
    assert digest.hexdigest()[:32] == STREAMS[views]


def test_a_set_of_then_is_read_verified_and_extended(digits, tmp_path):
    """`earlier_set` has one pass of crops and was made in November 2026."""
    earlier = Path(__file__).parent / "earlier_set"
    made_with = read_manifest(earlier).environment["keras"]
    if Version(keras.__version__) < Version(made_with):
        pytest.skip(
            f"its teachers were saved by Keras {made_with}, which older can't read"
        )
    path = Path(shutil.copytree(earlier, tmp_path / "set"))
    teacher_paths = [str(path / f"{number}.keras") for number in range(2)]
    stored = distillation_set.open(path, data=digits)
    assert sum(len(batch["label"]) for batch in stored.dataset(10)) == 41
    teachers = [loading.load(teacher) for teacher in teacher_paths]
    verification.check_content(stored, data=digits)
    again = verification.verify(stored, dict(enumerate(teachers)), sample=41, seed=0)
    assert again.largest_logit_difference == 0.0
    manifest = json.loads((path / "manifest.json").read_text())
    # Whether other machines may extend a set is not the question here.
    del manifest[SEAL]
    manifest |= signal_fields(teachers, teacher_paths)
    (path / "manifest.json").write_text(json.dumps(sealed(manifest)))
    extended = make(
        path,
        digits,
        teacher_paths,
        augmentation=VIEWS["crops"],
        store="replay",
        keep_members=True,
        views_per_shard=64,
    )
    assert (extended.shards_done, extended.shards_skipped) == (1, 2)
    assert extended.content_digest[:32] == CONTENTS["crops", True]
