"""Exports at addresses, and models from there: whole, checked, and nobody else's."""

import importlib.util
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.cli import arguments, elsewhere
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.exports import cards, formats, sharing
from kerasdistill.models import loading

SIDE = 8
IMAGES = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)


def small() -> keras.Model:
    image = keras.Input((SIDE, SIDE, 3), name="image")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(3)(flat), name="student")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, and its export as SavedModel and `.keras`."""
    keras.utils.set_random_seed(1)
    folder, model = tmp_path_factory.mktemp("shared") / "export", small()
    how = {"images": IMAGES, "representative": IMAGES, "card": {"kind": "student"}}
    before, formats.TIMED_CALLS = formats.TIMED_CALLS, (1, 2)
    formats.write_formats(model, folder, formats=["saved-model", "keras"], **how)
    formats.TIMED_CALLS = before
    return model, folder


@pytest.fixture
def export(made, tmp_path):
    return Path(shutil.copytree(made[1], tmp_path / "export"))


@pytest.fixture(params=["ram", "file"])
def address(request, tmp_path):
    """A place that TensorFlow opens by an address, as it opens gs://."""
    if request.param == "file":
        return f"file://{tmp_path}/bucket/mine"
    place = f"ram://{tmp_path.name}/bucket/mine"
    return place


def files(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def test_an_export_comes_back_as_it_was_put(export, address, tmp_path):
    sharing.require(address)
    sharing.put(export, address)
    back = sharing.taken(address, tmp_path / "here")
    assert files(back) == files(export)
    cards.check_files(back)


def test_one_file_comes_with_its_card(export, made, address, tmp_path):
    sharing.put(export, address)
    path = sharing.taken(f"{address}/model.keras", tmp_path / "here")
    assert cards.read_card(path)["kind"] == "student"
    found = loading.load(path)(IMAGES)
    np.testing.assert_allclose(found, made[0](IMAGES), atol=1e-5)


def test_it_can_be_put_again(export, address):
    sharing.put(export, address)
    (export / "MODEL_CARD.md").write_text("# Better words")
    sharing.put(export, address)
    with tf.io.gfile.GFile(f"{address}/MODEL_CARD.md") as file:
        assert file.read() == "# Better words"


def test_what_somebody_has_there_is_left_alone(export, address):
    tf.io.gfile.makedirs(address)
    with tf.io.gfile.GFile(f"{address}/thesis.tex", "w") as file:
        file.write("years")
    with pytest.raises(UserError, match="thesis.tex"):
        sharing.put(export, address)
    assert not tf.io.gfile.exists(f"{address}/card.json")


def test_a_damaged_export_is_not_put(export, address):
    (export / "model.keras").write_bytes(b"no more")
    with pytest.raises(StaleArtifactError, match=r"model\.keras"):
        sharing.put(export, address)
    assert not tf.io.gfile.exists(address)


def test_it_is_no_export_until_its_card_is_there(export, address, monkeypatch):
    copied, copy = [], tf.io.gfile.copy

    def failing(source, target, **how):
        copied.append(target)
        if len(copied) == 3:
            raise tf.errors.PermissionDeniedError(None, None, "no more")
        copy(source, target, **how)

    sharing.put(export, address)
    monkeypatch.setattr(tf.io.gfile, "copy", failing)
    with pytest.raises(UserError, match="no more"):
        sharing.put(export, address)
    assert not tf.io.gfile.exists(f"{address}/card.json")


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("runs/here", "no address"),
        ("hf://alone", "hf://alone"),
        ("hf://a/b/c", "hf://a/b/c"),
        ("hf:///b", "hf:///b"),
        ("nowhere://a/b", "nowhere"),
    ],
)
def test_what_is_no_place_is_refused(address, named):
    with pytest.raises(UserError, match=named):
        sharing.require(address)


@pytest.mark.parametrize("missing", ["model.keras", "folder"])
def test_what_is_not_there_is_one_line(missing, tmp_path):
    address = f"ram://{tmp_path.name}/{missing}"
    with pytest.raises(UserError, match=missing):
        sharing.taken(address, tmp_path)
    tf.io.gfile.makedirs(address)
    with pytest.raises(UserError, match="no SavedModel"):
        sharing.taken(address, tmp_path)


def test_a_hub_without_package_or_token_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    installed = importlib.util.find_spec("huggingface_hub") is not None
    with pytest.raises(UserError, match="token" if installed else "huggingface_hub"):
        sharing.require("hf://me/digits")


class Hub:
    """The Hugging Face Hub, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def upload(self, folder: str, repository: str) -> None:
        shutil.copytree(folder, self.folder / repository)

    def download(self, repository: str) -> str:
        return str(self.folder / repository)


def test_the_hub_shows_the_card_and_keras_loads_the_folder(export, made, tmp_path):
    hub = Hub(tmp_path / "hub")
    sharing.put(export, "hf://me/digits", upload=hub.upload)
    there = files(hub.folder / "me" / "digits")
    assert there["README.md"] == files(export)["MODEL_CARD.md"]
    assert files(export).items() <= there.items()
    # As Keras does for keras.saving.load_model("hf://me/digits").
    found = keras.saving.load_model(hub.folder / "me" / "digits", compile=False)
    np.testing.assert_allclose(found(IMAGES), made[0](IMAGES), atol=1e-5)
    here = sharing.taken("hf://me/digits", tmp_path, download=hub.download)
    assert cards.own_card(here, loading.load(here))["kind"] == "student"


def test_a_model_that_keras_put_on_the_hub_comes_as_a_file(made, tmp_path):
    hub = Hub(tmp_path / "hub")
    (hub.folder / "me" / "own").mkdir(parents=True)
    keras.saving.save_model(made[0], hub.folder / "me" / "own", zipped=False)
    path = sharing.taken("hf://me/own/", tmp_path / "here", download=hub.download)
    found = loading.load(path)(IMAGES)
    np.testing.assert_allclose(found, made[0](IMAGES), atol=1e-5)


def test_a_hub_that_is_away_is_one_line(export, tmp_path):
    def away(*_):
        raise ConnectionError("no route to the hub\nmore")

    with pytest.raises(UserError, match="no route") as refused:
        sharing.put(export, "hf://me/digits", upload=away)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="no route"):
        sharing.taken("hf://me/digits", tmp_path, download=away)


def test_the_loader_says_that_an_address_is_no_file():
    with pytest.raises(UserError, match="hf://me/digits"):
        loading.load("hf://me/digits")


def test_models_of_a_command_line_are_brought_here(export, tmp_path):
    address = f"ram://{tmp_path.name}/model.keras"
    tf.io.gfile.copy(str(export / "model.keras"), address)
    runs = str(tmp_path / "runs")
    line = ["student", "--budget", "1M", "--workdir", runs, "--teacher", address]
    args = arguments.parse([*line, "mine.keras"])
    elsewhere.bring(args)
    brought, own = args.teacher
    assert own == "mine.keras" and Path(brought).is_relative_to(runs)
    assert loading.load(brought).name == "student"
    # A set stays where it lies.
    args = arguments.parse(["inspect", f"ram://{tmp_path.name}/set", "--workdir", runs])
    elsewhere.bring(args)
    assert args.path.startswith("ram://")


def test_export_copies_it_and_evaluate_reads_it(export, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))
    image = keras.Input((32, 32, 3))
    logits = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(image))
    keras.Model(image, logits).save("mine.keras")
    address, common = f"ram://{tmp_path.name}/mine", ["--dataset", "digits", "--json"]
    line = ["export", "mine.keras", "--name", "mine", "--format", "keras"]
    assert main([*line, "--to", address, *common]) == 0
    assert json.loads(capsys.readouterr().out)["shared"] == address
    assert (tmp_path / "saved_models" / "mine" / "card.json").is_file()
    assert main(["evaluate", f"{address}/model.keras", *common]) == 0
    assert json.loads(capsys.readouterr().out)["num_examples"] > 100


def test_a_place_that_is_none_ends_the_command_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["export", "mine.keras", "--to", "nowhere://a", "--dataset", "digits"]
    assert main(line) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "nowhere://a" in error and not any(tmp_path.iterdir())
