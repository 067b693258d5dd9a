"""One byte flipped, or the end cut off, in every kind of file: noticed, or harmless.

Harmless is damage after which the file says exactly what it said before.
"""

import random
import shutil
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.files import SEAL
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.runs import read_json
from kerasdistill.training import checkpoint
from pipelines import distillation_set
from pipelines.beam import shards
from pipelines.stored.layout import Layout, sidecar_name

TRIES = 60  # of each kind of file; four times as many in the slow suite
COUNTS = Counter()


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one byte flipped, or cut off somewhere."""
    position = draw.randrange(len(content))
    if draw.random() < 0.2:
        return content[:position]
    changed = bytearray(content)
    changed[position] ^= draw.randrange(1, 256)
    return bytes(changed)


def attack(kind: str, files: list[Path], read, *, tries: int, says=None) -> None:
    """Damages the files, a random one each time, and reads what they belong to.

    Args:
        kind: for the count.
        files: what may be damaged; whole again afterwards.
        read: returns what is read, or raises UserError.
        says: what the refusal names (None: the damaged file's name).
    """
    draw = random.Random(kind)
    whole = read()
    for _ in range(tries):
        file = draw.choice(files)
        content = file.read_bytes()
        file.write_bytes(damaged(content, draw))
        try:
            found = read()
        except UserError as error:
            COUNTS[f"{kind}: refused"] += 1
            assert (says or file.name) in str(error), str(error)
        else:
            COUNTS[f"{kind}: harmless"] += 1
            assert found == whole, f"{kind}: {file} passed silently"
        finally:
            file.write_bytes(content)
    told = [f"{name} {COUNTS[name]}" for name in sorted(COUNTS) if kind in name]
    print(", ".join(told))


@pytest.fixture(params=[1, pytest.param(4, marks=pytest.mark.slow)])
def tries(request) -> int:
    return TRIES * request.param


@pytest.fixture
def copied(inputs, tmp_path) -> Path:
    """The images set, in a run folder that may be damaged."""
    run = Path(inputs.images).parent
    return Path(shutil.copytree(run, tmp_path / run.name)) / "distillation_set"


def test_shards(copied, tries):
    files = sorted(copied.glob("*.tfrecord-*"))
    attack("shard", files, lambda: distillation_set.open(copied).manifest, tries=tries)


def test_manifests(copied, tries):
    def read():
        return distillation_set.open(copied).manifest

    attack("manifest", [copied / "manifest.json"], read, tries=tries)


def test_sidecars_and_plans_of_unfinished_sets(copied, tries):
    """A damaged sidecar makes its shard unfinished; it is scored again."""
    manifest = distillation_set.open(copied).manifest
    layout: Layout = manifest.layout
    (copied / "manifest.json").unlink()
    names = layout.shard_names()

    def sidecars():
        for work in shards.unfinished(str(copied), layout, []):
            raise UserError(sidecar_name(layout.shard_name(*work[:2])))
        return [without_seal(copied / sidecar_name(name)) for name in names]

    files = [copied / sidecar_name(name) for name in names]
    attack("sidecar", files, sidecars, tries=tries)
    plan = copied / "plan.json"
    request = read_json(plan)["request"]
    attack(
        "plan",
        [plan],
        lambda: shards.joined_with_earlier(str(copied), request),
        tries=tries,
    )


def without_seal(path: Path):
    """A JSON file's fields; a stray one is what its checksum's damaged name became."""
    value = read_json(path)
    strays = [
        name
        for name in value
        if len(name) == len(SEAL) and sum(map(str.__ne__, name, SEAL)) == 1
    ]
    return {name: field for name, field in value.items() if name not in strays}


def test_results_recipes_and_cards(copied, inputs, tmp_path, tries):
    teacher = Path(inputs.teacher)
    for name in ("results.json", "recipe.json", "card.json"):
        file = Path(shutil.copy(teacher.with_name(name), tmp_path))
        attack(name, [file], lambda file=file: without_seal(file), tries=tries)


def test_checkpoints(inputs, tmp_path, tries):
    folder = Path(inputs.teacher).parent / "checkpoints"
    for number, source in enumerate(sorted(folder.glob("*.npz"))):
        path = Path(shutil.copy(source, tmp_path))
        with np.load(path) as arrays:
            saved = [arrays[name] for name in arrays.files if name != "state"]
        variables = [keras.Variable(a, dtype=a.dtype.name) for a in saved]

        def read(path=path, variables=variables):
            state = checkpoint.load(path, variables)
            return state, [v.numpy().tobytes() for v in variables]

        attack(f"checkpoint {number}", [path], read, tries=tries)


def test_models(inputs, tmp_path, tries):
    """Every part of a .keras file: its layers too, not the weights alone."""
    path = Path(shutil.copy(inputs.teacher, tmp_path))

    def read():
        model = loading.load(path)
        return weights_digest(model), model.to_json()

    def named():
        try:
            return read()
        finally:
            keras.utils.clear_session()

    attack("model", [path], named, tries=tries // 4)


def test_saved_models(inputs, tmp_path, tries):
    source = Path(inputs.teacher).with_name("saved_model")
    folder = Path(shutil.copytree(source, tmp_path / "saved_model"))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]

    def read():
        cards.check_files(folder)
        return without_seal(folder / "card.json")

    attack("SavedModel", files, read, tries=tries)
