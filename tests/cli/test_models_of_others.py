"""Every verb that takes a model reads it alike: one of another size, scale and form."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.exports import formats, saved_model
from pipelines import datasets

from .test_commands import answer

L = keras.layers
SIDE = 16
READ = "--teacher-output probabilities --teacher-input 0-1".split()
DIGITS = ["--dataset", "digits"]


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits", image_shape=(SIDE, SIDE, 3))


@pytest.fixture(scope="module")
def path(data, tmp_path_factory):
    """The nearest class mean: softmax of pixels 0-1, 16x16, as an HDF5 file."""
    images = data.train.images.reshape(len(data.train), -1) / 255
    means = np.stack([images[data.train.labels == n].mean(axis=0) for n in range(10)])
    image = keras.Input(data.image_shape)
    layer = L.Dense(10, activation="softmax")
    model = keras.Model([image], [layer(L.Flatten()(image))])
    layer.set_weights([0.2 * means.T, -0.1 * (means**2).sum(axis=1)])
    place = tmp_path_factory.mktemp("others") / "mine.h5"
    model.save(place)
    return place


@pytest.fixture(scope="module")
def right(data, path):
    """Its accuracy on test."""
    model = keras.saving.load_model(path, compile=False)
    found = model.predict(data.test.images / 255, verbose=0).argmax(axis=1)
    return float((found == data.test.labels).mean())


def test_evaluate(path, right, capsys):
    read = answer(capsys, "evaluate", path, *DIGITS, *READ)
    assert read["accuracy"] == pytest.approx(right) and right > 0.85
    # Its softmax is seen; that it knows pixels 0-1 is said.
    assert main(["evaluate", str(path), *DIGITS]) == 0
    assert "--teacher-input 0-1" in capsys.readouterr().err


def test_inspect_applies_no_softmax_twice(path, tmp_path, capsys, data):
    read = ("--teacher-input", "0-1", "--split", "test")
    there = ("--workdir", tmp_path)
    found = answer(capsys, "inspect", path, *DIGITS, *read, *there)
    model = keras.saving.load_model(path, compile=False)
    sure = model.predict(data.test.images / 255, verbose=0).max(axis=1)
    assert found["confidence"]["mean"] == pytest.approx(sure.mean(), abs=1e-4)


@pytest.mark.exports
def test_export_takes_pixels_and_gives_logits(
    path, data, right, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))
    answer(capsys, "export", path, *DIGITS, *READ, "--name", "mine")
    logits = saved_model.load_saved_model("saved_models/mine")(data.test.images)
    assert (logits.argmax(axis=1) == data.test.labels).mean() == pytest.approx(right)
    assert logits.max() <= 0  # logarithms of probabilities
    # A card knows the data set, its size and its colours.
    told = answer(capsys, "evaluate", "saved_models/mine", *DIGITS)
    assert told["accuracy"] == pytest.approx(right)


def test_a_set_of_it_is_verified_with_it(path, right, tmp_path, capsys):
    there = (*DIGITS, "--workdir", tmp_path, "--teacher", path, *READ)
    once = "precompute --passes 1 --store replay --direct_running_mode in_memory"
    made = answer(capsys, *once.split(), *there)
    assert made["teacher_test_accuracy"] == pytest.approx(right)
    manifest = json.loads(Path(made["distillation_set"], "manifest.json").read_text())
    assert manifest["image_shape"] == [SIDE, SIDE, 3]
    found = answer(capsys, "verify", made["distillation_set"], "--sample", 64, *there)
    assert found["checksums_ok"]


@pytest.mark.slow
def test_born_again(path, tmp_path, capsys):
    line = "born-again --arch wide-resnet-10-1 --epochs 1 --batch-size 64 --quick"
    there = ("--workdir", tmp_path, "--teacher", path, *READ)
    made = answer(capsys, *line.split(), *DIGITS, *there)
    assert made["generations"][0]["val_accuracy"] > 0.8
    assert made["generations"][1]["model"]


@pytest.mark.parametrize(
    "line",
    [
        "evaluate {}",
        "inspect {}",
        "export {} --name x",
        "precompute --teacher {}",
        "ensemble --teacher {}",
        "student --budget 10k --convs 1 --teacher {} --epochs 1 --schedule cosine",
        "born-again --quick --teacher {}",
    ],
)
def test_what_is_impossible_is_refused_by_all(line, tmp_path, capsys):
    flat = keras.Sequential([keras.Input((5,)), L.Dense(10)])
    flat.save(tmp_path / "flat.keras")
    words = line.format(tmp_path / "flat.keras").split()
    code = main([*words, *DIGITS, "--workdir", str(tmp_path / "runs")])
    error = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and error.startswith("error: ") and "expected images" in error
