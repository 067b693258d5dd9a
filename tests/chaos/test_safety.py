"""Files from strangers: nothing in them is run, read elsewhere or printed raw."""

import json
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.cli import answers
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import StaleArtifactError, UserError, one_line
from kerasdistill.exports import cards
from kerasdistill.exports.saved_model import export_saved_model
from kerasdistill.models import loading
from kerasdistill.training import checkpoint
from pipelines.stored.manifest import Manifest

DATA = "--dataset digits --quick --json"


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, file: Path):
        self._file = str(file)

    def __reduce__(self):
        return os.mkdir, (self._file,)


@pytest.fixture
def trace(tmp_path) -> Path:
    """What would be there if code from a file had run."""
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists()


def lambda_teacher(folder: Path, trace: Path) -> Path:
    path = folder / "lambda.keras"
    target = str(trace)

    def explode(x):
        __import__("os").mkdir(target)
        return x

    keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Lambda(lambda x: x, output_shape=(32, 32, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    ).save(path)
    # The same file, with a function that does something.
    config = keras.layers.Lambda(explode, output_shape=(32, 32, 3)).get_config()
    function = keras.saving.serialize_keras_object(config["function"])
    rewritten(
        path, lambda net: _layer(net, "Lambda")["config"].update(function=function)
    )
    return path


def rewritten(path: Path, change) -> None:
    """A `.keras` file with another config.json."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def _layer(net: dict, kind: str) -> dict:
    return next(e for e in net["config"]["layers"] if e["class_name"] == kind)


def os_teacher(folder: Path, trace: Path) -> Path:
    """Names a function of the operating system as a layer's class."""
    path = lambda_teacher(folder, trace)

    def change(net):
        layer = _layer(net, "Lambda")
        layer.update(module="os", class_name="mkdir", registered_name="mkdir")
        layer["config"] = {"path": str(trace)}

    rewritten(path, change)
    return path


def pickled_teacher(folder: Path, trace: Path) -> Path:
    path = folder / "pickle.keras"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    return path


def pickled_weights(folder: Path, trace: Path) -> Path:
    """A pickle in the place of the weights."""
    path = lambda_teacher(folder, trace)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["model.weights.h5"] = pickle.dumps(Bomb(trace))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "make", [lambda_teacher, os_teacher, pickled_teacher, pickled_weights]
)
def test_no_teacher_runs_code(make, tmp_path, trace):
    path = make(tmp_path, trace)
    with pytest.raises(UserError, match=f"model {path} cannot be loaded"):
        model = loading.load(path)
        model(np.zeros((1, 32, 32, 3)))


def test_every_verb_that_takes_a_model(tmp_path, trace, capsys):
    path = lambda_teacher(tmp_path, trace)
    for verb in (
        f"precompute --passes 1 --teacher {path} --workdir {tmp_path}",
        f"ensemble --teacher {path} --workdir {tmp_path}",
        f"evaluate {path}",
        f"export {path}",
    ):
        assert main([*verb.split(), *DATA.split()]) == 2
        assert f"error: model {path} cannot be loaded" in capsys.readouterr().err


def test_pickles_in_checkpoints(tmp_path, trace):
    path = tmp_path / "last.npz"
    np.savez(path, **{"0000": np.array([Bomb(trace)], object)})
    with pytest.raises(StaleArtifactError, match="is damaged"):
        checkpoint.load(path, [])


def test_pickled_and_executable_recipes(tmp_path, trace, capsys):
    path = tmp_path / "recipe.json"
    for content in (pickle.dumps(Bomb(trace)), b"__import__('os').mkdir('ran')"):
        path.write_bytes(content)
        line = f"student --recipe {path} --workdir {tmp_path} {DATA}"
        assert main(line.split()) == 2
        assert f"error: {path} is damaged" in capsys.readouterr().err


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A SavedModel of another workdir, with a card that lists its files."""
    folder = tmp_path_factory.mktemp("elsewhere") / "run"
    layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
    net = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    cards.write(net, folder, {"image_shape": [32, 32, 3]})
    how = {"images": np.zeros((2, 32, 32, 3), np.uint8), "workdir": folder.parent}
    export_saved_model(net, folder / "saved_model", card={}, **how)
    return folder / "saved_model"


@pytest.mark.parametrize(
    "verb",
    [
        "evaluate {}",
        "inspect {}",
        "export {}",
        "precompute --passes 1 --teacher {}",
        "student --convs 1 --budget 100k --teacher {}",
        "ensemble --teacher {}",
        "born-again --teacher {}",
        "verify {set} --teacher {}",
    ],
)
def test_a_saved_model_is_a_program(verb, foreign, inputs, tmp_path, capsys):
    """What it holds is run, not read: only what this workdir's runs wrote is."""
    line = verb.format(foreign, set=inputs.images) + f" --workdir {tmp_path} {DATA}"
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert "is a SavedModel, which may run any code" in error
    assert str(foreign.with_name("model.keras")) in error


def test_a_language_model_s_saved_model_is_a_program(foreign, tmp_path, capsys):
    folder = tmp_path / "saved_model"
    shutil.copytree(foreign, folder)
    (folder / "card.json").unlink()
    words = ["a", "<eos>", "<unk>"]
    cards.write_folder_card(folder, {"kind": cards.LANGUAGE_MODEL, "words": words})
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a a a\n")
    line = f"evaluate {folder} --data-dir {tmp_path} --workdir {tmp_path}"
    assert main(line.split()) == 2
    assert "is a SavedModel, which may run any code" in capsys.readouterr().err


def test_manifests_name_only_their_own_files(inputs):
    value = json.loads((Path(inputs.images) / "manifest.json").read_text())
    for name in ("../x.tfrecord-00000-of-00001", "/etc/passwd"):
        shards = [{**value["shards"][0], "name": name}, *value["shards"][1:]]
        with pytest.raises(StaleArtifactError, match="field shards is damaged"):
            Manifest.from_json({**value, "shards": shards})
    for digest in ("../../../../x", "/etc/passwd"):
        changed = {**value["teachers"][0], "weights_digest": digest}
        changed = {**value, "teachers": [changed], "keep_members": True}
        changed["member_shards"] = [
            [
                {**s, "name": f"member-{digest[:12]}-{s['name']}"}
                for s in value["shards"]
            ]
        ]
        with pytest.raises(StaleArtifactError, match="weights_digest"):
            Manifest.from_json(changed)


def test_cards_name_only_their_own_files(tmp_path):
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    cards.write_folder_card(folder, {})
    card = folder / "card.json"
    for name in ("../secret", str(tmp_path / "secret")):
        digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        card.write_text(json.dumps({"files": {name: digest}}))
        with pytest.raises(StaleArtifactError, match="is missing or damaged"):
            cards.check_files(folder)


def test_what_is_printed_controls_no_terminal():
    evil = "a\x1b]0;owned\x07\r\nb\u202e"
    for printed in (one_line(evil), answers.readable({"name": evil, "notes": [evil]})):
        assert all(letter.isprintable() or letter == "\n" for letter in printed)
        assert "\\x1b]0;owned\\x07" in printed


def test_every_requirement_has_an_upper_bound():
    text = (Path(__file__).resolve().parents[2] / "setup.py").read_text()
    stated = re.findall(r'"([a-z_\-]+(?:\[\w+\])?)(>=[^"]*)"', text)
    required = [name for name, bounds in stated if name != "setuptools"]
    assert {"tensorflow", "keras", "hypothesis", "ruff"} <= set(required)
    assert not [name for name, bounds in stated if not re.search(r",<\d", bounds)]
