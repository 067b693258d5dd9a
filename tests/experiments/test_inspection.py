"""Looking into a tiny set, and at a model whose mistakes are known."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.experiments import inspection
from kerasdistill.exports import cards
from kerasdistill.files import write_sealed_json
from kerasdistill.recipes.base import Augmentation
from kerasdistill.reports import plots
from kerasdistill.runs import read_json
from pipelines import datasets, distillation_set, precompute

from ..conftest import CLASSES
from ..pipelines.conftest import IN_THIS_PROCESS, build_teacher


def by_colour(gains=(9.0, 9.0, 9.0)) -> keras.Model:
    """Names the channel that is brightest, which is the label of a "shape"."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    model.layers[-1].set_weights([np.diag(gains), np.zeros(3)])
    return model


@pytest.fixture
def made(tmp_path, image_data):
    """A set of two kept members: one that is always right, and another."""
    paths = [str(tmp_path / name) for name in ("right.keras", "other.keras")]
    by_colour((60.0, 60.0, 60.0)).save(paths[0])
    keras.utils.set_random_seed(1)
    build_teacher().save(paths[1])
    return precompute.run(
        teacher_paths=paths,
        data=image_data,
        augmentation=Augmentation(
            hue=0, saturation=0, value=0, saturation_scale=0, value_scale=0, min_crop=8
        ),
        passes=2,
        store="images",
        keep_members=True,
        output=str(tmp_path / "set"),
        seed=5,
        beam_options=IN_THIS_PROCESS,
        views_per_shard=16,
        block_views=8,
        force=True,
    )


def test_a_set(made, tmp_path, image_data):
    path = inspection.set_at(made.distillation_set)
    output = tmp_path / "look"
    common = {"data": image_data, "workdir": tmp_path, "output": output}
    found = inspection.of_set(path, sample=50, **common)
    assert (found["views"], found["sampled"], found["teachers"]) == (82, 50, 2)
    assert found["label_agreement"] == 1.0 and found["confused"] == []
    histogram = found["confidence"]["histogram"]
    assert sum(row["count"] for row in histogram) == 50
    assert sum(row["right"] for row in histogram) == 50
    # The first member alone decides, so none or one agrees with the mean.
    assert sum(found["members_agreeing"]) == 50 and found["members_agreeing"][0] == 0
    other = distillation_set.open(path, members=[2]).dataset(50)
    batch = next(iter(other))
    agree = batch["teacher_logits"].numpy().argmax(1) == batch["label"].numpy()
    first = 41  # views of the first pass, one batch
    assert found["members_agreeing"][2] >= agree[:first].sum()
    assert sum(row["count"] for row in found["agreement_by_shard"]) == 6
    names = {p.stem for p in output.glob("*.png")}
    assert names == {"views", "histograms", "members"}
    assert json.loads((output / "inspection.json").read_text()) == found
    assert len(list((output / "board").glob("*.tfevents.*"))) == 1
    inspection.of_set(path, sample=5, **common)  # again, in the same place
    assert len(list((output / "board").glob("*.tfevents.*"))) == 1


def read_scalars(folder):
    """Name -> value in TensorBoard's one file there."""
    (path,) = folder.glob("*.tfevents.*")
    events = tf.compat.v1.train.summary_iterator(str(path))
    return {
        value.tag: float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "scalars"
    }


@pytest.fixture
def model(tmp_path, image_data):
    """A student that never says "star" where the teacher always does rightly."""
    return cards.save_model(
        by_colour((9.0, 9.0, 0.0)),
        tmp_path / "run",
        kind="student",
        class_names=CLASSES,
        dataset=image_data.identity(),
        recipe={},
    )


def look(model, image_data, tmp_path, **changes):
    given = {"split": "validation", "teachers": [], "output": tmp_path / "look"}
    return inspection.of_model(model, data=image_data, **{**given, **changes})


def test_a_model(model, image_data, tmp_path):
    right = tmp_path / "right.keras"
    by_colour().save(right)
    found = look(model, image_data, tmp_path, teachers=[str(right)])
    labels = image_data.validation.labels
    stars = int((labels == 2).sum())
    assert found["num_examples"] == 15 and found["accuracy"] == (15 - stars) / 15
    assert [row["accuracy"] for row in found["per_class"]] == [1, 1, 0]
    assert np.array(found["confusion"])[2].sum() == stars
    assert {pair["label"] for pair in found["confused"]} == {"star"}
    parted = found["disagreement"]
    assert parted["teacher_alone_right"] == parted["count"] == stars
    assert (parted["student_alone_right"], parted["both_wrong"]) == (0, 0)
    assert parted["both_right"] == 15 - stars
    assert set(parted["places"]) == set(np.flatnonzero(labels == 2).tolist())
    names = {p.name for p in (tmp_path / "look").glob("*.png")}
    drawn = ("confusion", "calibration", "disagreements", "per_class", "confused")
    assert names == {f"{name}.png" for name in drawn}
    values = read_scalars(tmp_path / "look" / "board")
    assert values["accuracy"] == pytest.approx(found["accuracy"])
    assert values["ece"] == pytest.approx(found["calibration"]["ece"])


def test_the_teacher_is_the_sets(model, made, image_data, tmp_path):
    origin = {"path": str(made.distillation_set), "members": [1]}
    results = tmp_path / "run" / "results.json"
    results.write_text(json.dumps({"distillation_set": origin}))
    parted = look(model, image_data, tmp_path)["disagreement"]
    assert parted["count"] == parted["teacher_alone_right"] == 5
    # The set knows nothing of test images, nor of others' validation images.
    assert look(model, image_data, tmp_path, split="test")["disagreement"] is None


def test_without_matplotlib(model, image_data, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "available", lambda: False)
    found = look(model, image_data, tmp_path)
    assert found["pictures"] == [] and found["board"] is None
    assert [p.name for p in (tmp_path / "look").iterdir()] == ["inspection.json"]


def test_another_data_set_is_refused(model, image_data, tmp_path):
    others = dataclasses.replace(image_data, class_names=("star", "square", "circle"))
    with pytest.raises(UserError, match="other classes"):
        look(model, others, tmp_path)


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("inspect /nowhere", "does not exist"),
        ("inspect {model} --sample 3", "a whole split"),
        ("inspect {empty}", "no distillation set, no model"),
    ],
)
def test_bad_requests(line, fragment, model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    places = {"model": model, "empty": tmp_path / "empty"}
    assert main(line.format(**places).split()) == 2
    assert fragment in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["inspect", "export"])
def test_a_language_model_is_told_what_to_do_instead(verb, model, capsys):
    card = read_json(model.with_name("card.json"))
    write_sealed_json(model.with_name("card.json"), {**card, "kind": "language-model"})
    assert main([verb, str(model)]) == 2
    assert "is a language model; " in capsys.readouterr().err


def test_the_verb_makes_a_sets_views_again_from_images_without_labels(tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    for number, each in enumerate(pixels):
        keras.utils.save_img(images / f"{number}.png", each, scale=False)
    shape, names = (12, 12, 1), ("a", "b", "c")
    data = datasets.load(f"unlabelled:{images}", class_names=names, image_shape=shape)
    teacher = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    teacher.save(tmp_path / "teacher.keras")
    made = precompute.run(
        teacher_paths=[str(tmp_path / "teacher.keras")],
        data=data,
        augmentation=Augmentation(min_crop=10),
        passes=1,
        store="replay",
        output=str(tmp_path / "set"),
        seed=5,
        beam_options=IN_THIS_PROCESS,
        force=True,
    )
    line = ["inspect", str(made.distillation_set), "--workdir", str(tmp_path / "w")]
    # Sizes, colours and classes are the set's; only the folder may have moved.
    assert main([*line, "--dataset", data.name]) == 0
    assert (tmp_path / "w" / "inspect-set" / "views.png").is_file()
    capsys.readouterr()
    assert main([*line, "--dataset", "folder:/nowhere"]) == 2


def test_the_verb_on_a_set_of_images_needs_no_data(made, tmp_path, capsys):
    line = ["inspect", str(made.distillation_set), "--workdir", str(tmp_path / "w")]
    assert main([*line, "--sample", "20"]) == 0
    out = capsys.readouterr().out
    assert "82 views in 2 passes of shapes" in out and "100.00 % of them" in out
    assert (tmp_path / "w" / "inspect-set" / "views.png").is_file()
    assert main([*line, "--split", "test"]) == 2
    assert "leave them out" in capsys.readouterr().err
