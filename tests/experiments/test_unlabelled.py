"""A transfer set without labels: the teacher's word is all there is."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from kerasdistill.cli.__main__ import main
from pipelines import datasets

CLASSES = ("red", "blue", "odd")
BEAM = ["--direct_running_mode=in_memory"]


@pytest.fixture
def folder(tmp_path):
    """Thirty images, red and blue, in folders that mean nothing."""
    generator = np.random.default_rng(0)
    for number in range(30):
        place = tmp_path / "photos" / f"day {number % 4}" / f"{number:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 100, (40, 36, 3), np.uint8)
        pixels[..., 2 * (number % 2)] += 120
        Image.fromarray(pixels).save(place)
    (tmp_path / "photos" / ".hidden").write_text("no image")
    return tmp_path / "photos"


@pytest.fixture
def teacher(tmp_path):
    """Tells red from blue by the mean pixel, and has a card."""
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    kernel = np.array([[4.0, -4.0, 0.0], [0.0, 0.0, 0.0], [-4.0, 4.0, 0.0]])
    model.layers[-1].set_weights([kernel, np.array([0.0, 0.0, -9.0])])
    path = tmp_path / "teacher" / "model.keras"
    path.parent.mkdir()
    model.save(path)
    card = {"class_names": CLASSES, "dataset": {"name": "another", "digest": "0"}}
    (path.parent / "card.json").write_text(json.dumps(card))
    return path


def answer(capsys, *words):
    code = main([*map(str, words), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out), printed.err


def test_images_at_any_depth_are_split_but_not_labelled(folder):
    data = datasets.load(f"unlabelled:{folder}", class_names=CLASSES)
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 0)
    assert not data.labelled and (data.train.labels == -1).all()
    assert data.class_names == CLASSES and data.image_shape == (32, 32, 3)
    ids = np.concatenate([data.train.sample_ids, data.validation.sample_ids])
    assert sorted(ids) == list(range(30))
    other = datasets.load(f"unlabelled:{folder}", class_names=CLASSES, split_seed=1)
    assert set(other.validation.sample_ids) != set(data.validation.sample_ids)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "store"), [("logit-regression", "images"), ("kd", "replay")]
)
def test_a_student_is_judged_by_agreement(
    folder, teacher, tmp_path, capsys, loss, store
):
    here = ["--workdir", tmp_path / "runs", "--dataset", f"unlabelled:{folder}"]
    here += ["--precision", "float32"]
    made, _ = answer(
        capsys,
        *["precompute", "--teacher", teacher, "--passes", 2, "--store", store],
        *here,
        *BEAM,
    )
    path = made["distillation_set"]
    manifest = json.loads((tmp_path / path / "manifest.json").read_text())
    assert manifest["class_names"] == list(CLASSES)
    assert {s["teacher_label_agreement"] for s in manifest["shards"]} == {None}
    student = "student --budget 30k --convs 2 --epochs 12 --schedule cosine".split()
    student += ["--batch-size", 8, "--loss", loss, "--distillation-set", path]
    found, told = answer(capsys, *student, *here)
    assert found["val_accuracy"] is None and found["test_accuracy"] is None
    assert found["teacher_agreement"] >= 0.8
    assert "val_teacher_agreement" in told and "accuracy" not in told
    verified, _ = answer(capsys, "verify", path, "--sample", 10, *here)
    assert verified["largest_logit_difference"] <= 1e-4


@pytest.mark.slow
def test_a_set_in_a_bucket_serves_as_a_local_one(
    folder, teacher, tmp_path, capsys, bucket
):
    url, _ = bucket
    here = ["--workdir", tmp_path / "runs", "--dataset", f"unlabelled:{folder}"]
    here += ["--precision", "float32"]
    label = ["precompute", "--teacher", teacher, "--store", "replay", "--output", url]
    answer(capsys, *label, "--passes", 1, *here, *BEAM)
    student = "student --budget 30k --convs 2 --epochs 1 --schedule cosine".split()
    student += ["--batch-size", 8, "--distillation-set", url]
    found, _ = answer(capsys, *student, *here)
    assert found["test_accuracy"] is None
    verify = ["verify", url, "--teacher", teacher, "--sample", 10, *here]
    verified, _ = answer(capsys, *verify)
    assert verified["largest_logit_difference"] <= 1e-4
    extend = ["precompute", "--extend", url, "--teacher", teacher, "--passes", 2]
    assert main([*map(str, [*extend, *here]), *BEAM]) == 2
    assert f"--output {url} included" in capsys.readouterr().err
    made, _ = answer(capsys, *label, "--passes", 2, *here, *BEAM)
    assert made["views"] == 2 * 24 and made["shards_skipped"] > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("teacher --epochs 1", "teacher needs labels"),
        ("baseline --budget 30k --convs 2", "baseline needs labels"),
        ("student --budget 30k --convs 2", "need a teacher with a card.json"),
        (
            "student --budget 30k --convs 2 --alpha 0.5 --loss kd --teacher {teacher}",
            "weighs labels",
        ),
    ],
)
def test_what_needs_labels_is_refused(folder, teacher, tmp_path, capsys, line, message):
    words = line.format(teacher=teacher).split()
    where = ["--workdir", str(tmp_path / "runs")]
    assert main([*words, "--dataset", f"unlabelled:{folder}", *where]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error


def test_a_cardless_teacher_needs_force(folder, teacher, tmp_path, capsys):
    (teacher.parent / "card.json").unlink()
    words = ["precompute", "--teacher", str(teacher), "--passes", "1"]
    words += ["--workdir", str(tmp_path), "--dataset", f"unlabelled:{folder}"]
    assert main([*words, "--force", *BEAM]) == 2
    assert "card.json beside it" in capsys.readouterr().err


def test_one_image_is_too_few(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "only.png")
    with pytest.raises(datasets.UserError, match="expected at least two images"):
        datasets.load(f"unlabelled:{tmp_path}", class_names=CLASSES)
