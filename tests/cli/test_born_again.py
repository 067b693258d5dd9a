"""The verb born-again: its grammar and what it refuses."""

import json

import keras
import pytest

from kerasdistill.cli import answers, arguments
from kerasdistill.cli import born_again as verb
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.models import loading
from kerasdistill.objectives import BanWithLabels

from .test_bad_requests import refused, save_model, write_card

SMALL = "born-again --arch wide-resnet-10-1 --epochs 1"


def test_crops_scale_with_the_images():
    for size, pad in ((32, 4), (64, 8)):
        asked = arguments.parse([*SMALL.split(), "--image-size", str(size)])
        assert verb.recipe(asked).augmentation.pad == pad


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("born-again", ["--arch is missing", "wide-resnet-28-10"]),
        ("born-again --arch wide-resnet-17-1", ["17", "wide-resnet-16-1"]),
        ("born-again --arch densenet-bc-41-12", ["41", "densenet-bc-40-12"]),
        ("born-again --arch densenet-91-60", ["densenet-90-60", "densenet-bc-88-60"]),
        (f"{SMALL} --generations 0", ["--generations", "'0'"]),
        (f"{SMALL} --generations -3", ["--generations", "'-3'"]),
        (f"{SMALL} --loss mse", ["'mse'", "cwtm"]),
        (f"{SMALL} --alpha 0.5", ["--alpha", "--loss kd"]),
        (f"{SMALL} --label-weight 2", ["--label-weight", "--loss ban+l"]),
        (f"{SMALL} --loss hard-label --temperature 2", ["--temperature", "a teacher"]),
        (f"{SMALL} --loss hard-label --teacher-signal stored", ["asks no teacher"]),
        (f"{SMALL} --permutation fixed", ["--permutation", "--loss dkpp"]),
        (f"{SMALL} --passes 3", ["--passes", "--teacher-signal stored"]),
        (f"{SMALL} --force", ["--force", "--teacher PATH"]),
        (f"{SMALL} --dropout 1", ["'1' is not a number from 0 to below 1"]),
        (f"{SMALL} --temperature 0", ["'0'"]),
        (f"{SMALL} --depth-factor 2", ["no depth"]),
        ("born-again --arch densenet-90-60 --dropout 0.3", ["no dropout"]),
        ("born-again --arch densenet-90-60 --depth-factor 0.4", ["both must be whole"]),
        ("born-again --arch ban-wide-resnet-1-1", ["--teacher PATH"]),
        ("summary --arch ban-wide-resnet-1-0.001", ["without a filter", "0.003"]),
        ("summary --arch ban-pre-resnet-1-0.005", ["without a filter", "0.009"]),
        (f"{SMALL} --teacher /nowhere.keras", ["/nowhere.keras"]),
        (f"{SMALL} --dataset unlabelled:/nowhere", ["card.json"]),
        (
            f"{SMALL} --teacher t.keras --custom-objects no.such.module",
            ["no.such.module", "ModuleNotFoundError"],
        ),
        (
            f"{SMALL} --teacher t.keras --custom-objects a --teacher-signal stored",
            ["Beam's workers", "live"],
        ),
        ("report born-again /nowhere", ["/nowhere", "no finished born-again run"]),
    ],
)
def test_requests(line, fragments, tmp_path, capsys):
    given = line.split()
    if "--dataset" not in line:
        given += ["--dataset", "digits"]
    refused(capsys, [*given, "--workdir", str(tmp_path / "runs")], *fragments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("model", "fragment"),
    [
        ({"classes": 7}, "10 classes"),
        ({"activation": "softmax"}, "probabilities"),
        ({"nan": True}, "NaN"),
        ({}, "--force"),
    ],
)
def test_teachers(model, fragment, tmp_path, capsys):
    path = save_model(tmp_path / "teacher" / "model.keras", **model)
    line = f"{SMALL} --dataset digits --workdir {tmp_path}/runs --teacher {path}"
    refused(capsys, line.split(), fragment)


def test_teachers_of_other_images_and_files_with_code(tmp_path, capsys):
    line = f"{SMALL} --dataset digits --workdir {tmp_path}/runs --teacher".split()
    small = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    small.save(tmp_path / "small.keras")
    # Images are brought to its size; it has learned nothing.
    refused(capsys, [*line, str(tmp_path / "small.keras")], "--force accepts it")
    with_code = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Lambda(lambda x: x[:, 0, 0, :1], output_shape=(1,)),
            keras.layers.Dense(10),
        ]
    )
    with_code.save(tmp_path / "code.keras")
    refused(capsys, [*line, str(tmp_path / "code.keras")], "cannot be loaded")
    for name, why in (("model.pkl", "is not a .keras or .h5"), ("model.h5", "loaded")):
        (tmp_path / name).write_bytes(b"\x80\x04N.")
        refused(capsys, [*line, str(tmp_path / name)], why)


def test_shared_layers_must_fit(tmp_path, capsys):
    path = save_model(tmp_path / "teacher" / "model.keras")
    write_card(path)
    line = f"born-again --arch ban-wide-resnet-1-1 --teacher {path} --dataset digits"
    request = [*line.split(), "--workdir", str(tmp_path / "runs")]
    refused(capsys, request, "no Conv2D layer to share")


OWN_LAYER = """
import keras

class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2
"""


def test_own_layers_come_from_a_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_layers.py").write_text(OWN_LAYER)
    with verb._custom_objects("own_layers"):
        from own_layers import Halved

        model = keras.Sequential([keras.Input((2,)), Halved()])
        model.save(tmp_path / "own.keras")
        loaded = loading.load(tmp_path / "own.keras")
        assert type(loaded.layers[0]) is Halved
    with pytest.raises(UserError, match="`custom_objects=MODULE`"):
        loading.load(tmp_path / "own.keras")


def test_the_command_line_becomes_a_recipe():
    line = (
        "born-again --arch wide-resnet-16-2 --epochs 20 --loss ban+l "
        "--label-weight 0.5 --temperature 2 --dropout 0 --seed 3 "
        "--precision float32 --batch-size 64"
    )
    made = verb.recipe(arguments.parse(line.split()))
    assert (made.architecture.units, made.architecture.width) == (2, 2)
    assert made.architecture.dropout_rate == 0
    training = made.training
    assert training.objective == BanWithLabels(2.0, label_weight=0.5)
    assert (training.epochs, training.batch_size, training.seed) == (20, 64, 3)
    assert training.milestones == (0.3, 0.6, 0.8) and training.schedule == "steps"
    dense = arguments.parse(
        "born-again --arch densenet-bc-40-12 --recipe-style densenet".split()
    )
    assert verb.recipe(dense).training.epochs == 300
    quick = verb.recipe(arguments.parse("born-again --quick".split()))
    assert quick.architecture.units == 1 and quick.training.epochs < 20


def test_generations_are_listed_for_people():
    row = {"num_params": 1234, "val_accuracy": 0.5, "test_accuracy": 0.25, "model": "m"}
    told = answers.readable(
        {
            "generations": [{"generation": 0, **row}],
            "ensembles": [{"name": "Ens*2", **row}],
        }
    )
    lines = [line.split() for line in told.splitlines()]
    assert lines[1] == "generation 0 1,234 50.00 % 25.00 % m".split()
    assert lines[2] == "Ens*2 1,234 50.00 % 25.00 % m".split()


@pytest.mark.slow
def test_the_quick_generations_learn_the_digits(capsys, tmp_path):
    line = f"born-again --quick --dataset digits --workdir {tmp_path} --json"
    assert main(line.split()) == 0
    made = json.loads(capsys.readouterr().out)
    assert [row["test_accuracy"] > 0.8 for row in made["generations"]] == [True, True]
