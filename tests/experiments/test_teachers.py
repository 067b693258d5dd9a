"""Teachers and students of others, through the experiments and the command line."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.experiments import adapting
from kerasdistill.experiments.adapting import Brought
from kerasdistill.exports import cards
from kerasdistill.exports import saved_model as export
from kerasdistill.models import loading, trust
from kerasdistill.models.wrapping import Convention
from pipelines import datasets

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty plain pictures of 20x24 pixels in three classes."""
    root = tmp_path_factory.mktemp("colours")
    generator = np.random.default_rng(0)
    for index, name in enumerate(CLASSES):
        place = root / "train" / name
        place.mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 120, (24, 20, 3)).astype(np.uint8)
            pixels[..., 2 - index] += 100
            Image.fromarray(pixels).save(place / f"{number:02}.png")
    return root


def knows_colours(side, activation=None):
    """A teacher by hand: the mean of the channel that names the class."""
    model = keras.Sequential(
        [
            keras.Input((side, side, 3), name="image"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation=activation),
        ]
    )
    # Two of one size would be the same teacher.
    model.set_weights([np.eye(3)[:, ::-1] / (10 + side), np.zeros(3)])
    return model


@pytest.fixture
def data(folder):
    return datasets.load(f"folder:{folder}", image_shape=(16, 16, 3))


def test_keras_applications_give_logits_beside_files_of_probabilities(
    data, tmp_path, monkeypatch
):
    own, weights = tmp_path / "own.keras", tmp_path / "theirs.weights.h5"
    knows_colours(16, "softmax").save(own)
    weights.write_bytes(b"read by Keras alone")
    theirs = knows_colours(16)
    made = lambda *_, **__: (theirs, ["preprocess_input"])  # noqa: E731
    monkeypatch.setattr(adapting.applications, "application", made)
    names = [str(own), "keras:Net"]
    brought = Brought(Convention("probabilities"), [str(weights)])
    paths = adapting.adapted(
        names, data=data, workdir=tmp_path / "runs", brought=brought
    )
    images = data.train.images[:4]
    softmax = loading.load(own).predict(images, verbose=0)
    adapted = [loading.load(path).predict(images, verbose=0) for path in paths]
    np.testing.assert_allclose(adapted[0], np.log(softmax), atol=1e-4)
    np.testing.assert_allclose(adapted[1], theirs.predict(images, verbose=0))
    told = cards.read_card(paths[1])["adapted"]
    assert (told["output"], told["layers"]) == ("logits", ["preprocess_input"])


def test_a_teacher_that_fits_stays_where_it_is(data, tmp_path):
    path = str(tmp_path / "teacher.keras")
    knows_colours(16).save(path)
    assert adapting.adapted([path], data=data, workdir=tmp_path / "runs") == [path]
    assert not (tmp_path / "runs").exists()


def test_others_are_adapted_once_and_say_how(data, tmp_path):
    path = str(tmp_path / "teacher.keras")
    knows_colours(24, "softmax").save(path)
    options = {"data": data, "workdir": tmp_path / "runs"}
    options["brought"] = Brought(Convention("probabilities"))
    (made,) = adapting.adapted([path], **options)
    card = cards.read_card(made)
    assert card["adapted"]["layers"] == [
        "resized to 24x24, bilinear",
        "log of probabilities, at least 1e-07",
    ]
    assert "class_names" not in card
    images = data.validation.images
    names = loading.load(made)(images).numpy().argmax(axis=1)
    np.testing.assert_array_equal(names, data.validation.labels)
    written = (tmp_path / made).stat().st_mtime_ns
    assert adapting.adapted([path], **options) == [made]
    assert (tmp_path / made).stat().st_mtime_ns == written
    from pipelines import checking

    # Its class order is checked against the labels, as any card-less teacher's.

    wrong = replace(data, train=replace(data.train, labels=(data.train.labels + 1) % 3))
    checking.check_teacher(loading.load(made), made, data=data)
    with pytest.raises(UserError, match="`force=True`"):
        checking.check_teacher(loading.load(made), made, data=wrong)


@pytest.mark.exports
def test_a_saved_model_s_card_keeps_its_classes(data, tmp_path):
    card = {"class_names": ["red", "green", "blue"], "dataset": {"digest": "x"}}
    images = data.train.images[:2]
    export.export_saved_model(
        knows_colours(16), tmp_path / "saved", card=card, images=images
    )
    source = str(tmp_path / "saved")
    options = {"data": data, "workdir": tmp_path / "runs"}
    with pytest.raises(UserError, match="saved_models=True"):
        adapting.adapted([source], **options)
    with trust.trusting(True):
        (made,) = adapting.adapted([source], **options)
        found = cards.read_card(made)
        assert found["class_names"] == card["class_names"]
        assert found["dataset"] == {}
        assert found["adapted"]["layers"][0] == "SavedModel"


def test_a_teacher_with_layers_of_its_own_comes_as_a_saved_model(data, tmp_path):
    class Brightened(keras.layers.Layer):
        def call(self, images):
            return images + 1.0

    inputs = keras.Input((16, 16, 3))
    theirs = keras.Model(inputs, knows_colours(16)(Brightened()(inputs)))
    theirs.save(tmp_path / "own.keras")
    with pytest.raises(UserError, match="model.export.*saved_models=True"):
        loading.load(tmp_path / "own.keras")
    theirs.export(tmp_path / "saved", verbose=False)
    with trust.trusting(True):
        options = {"data": data, "workdir": tmp_path / "runs"}
        (made,) = adapting.adapted([str(tmp_path / "saved")], **options)
        images = data.train.images[:4]
        np.testing.assert_allclose(
            loading.load(made)(images), theirs(images.astype("float32")), rtol=1e-6
        )


@pytest.mark.slow
@pytest.mark.exports
def test_one_line_with_everything_of_others(folder, tmp_path, capsys):
    """Three teachers of other sizes, a student of a file, 20-pixel images."""
    knows_colours(24, "softmax").save(tmp_path / "one.keras")
    knows_colours(16, "softmax").save(tmp_path / "two.keras")
    export.export_saved_model(
        knows_colours(12, "softmax"),
        tmp_path / "three",
        card={},
        images=np.zeros((1, 12, 12, 3), np.uint8),
    )
    student = keras.Sequential(
        [
            keras.Input((20, 20, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    student.save(tmp_path / "student.keras")
    paths = [str(tmp_path / name) for name in ("one.keras", "two.keras", "three")]
    here = ["--dataset", f"folder:{folder}", "--image-size", "20"]
    here += ["--workdir", str(tmp_path / "runs"), "--json"]
    line = ["student", "--student", str(tmp_path / "student.keras"), "--teacher"]
    line += [*paths, "--teacher-output", "probabilities", "--trust-saved-model"]
    line += "--passes 3 --epochs 30 --schedule cosine --store replay".split()
    line += "--learning-rate 0.01 --batch-size 12".split()
    assert main([*line, *here]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"]["kind"] == "GivenStudentRecipe"
    assert found["num_params"] == student.count_params()
    assert found["test_accuracy"] > 0.9
    made = found["chain"]["distillation_set"]["distillation_set"]
    manifest = json.loads((tmp_path / made / "manifest.json").read_text())
    assert manifest["image_shape"] == [20, 20, 3]
    told = [teacher["adapted"]["layers"] for teacher in manifest["teachers"]]
    assert told[0][0] == "resized to 24x24, bilinear" and "SavedModel" in told[2]
    assert main(["verify", made, "--trust-saved-model", *here]) == 0
    assert json.loads(capsys.readouterr().out)["checksums_ok"]


@pytest.mark.slow
def test_grey_images_and_an_application_as_student(folder, tmp_path, capsys):
    here = ["--dataset", f"folder:{folder}", "--image-size", "32", "--grey", "--json"]
    here += ["--workdir", str(tmp_path / "runs")]
    knows_colours(16).save(tmp_path / "teacher.keras")
    line = ["student", "--student", "keras:MobileNet", "--teacher"]
    line += [str(tmp_path / "teacher.keras"), "--force", "--passes", "1"]
    short = "--epochs 1 --schedule cosine --batch-size 12".split()
    assert main([*line, *short, *here]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"]["architecture"]["source"] == "keras:MobileNet"
    again = keras.saving.load_model(found["model"], safe_mode=True)
    assert again.input_shape == (None, 32, 32, 1) and again.output_shape == (None, 3)
