"""Every request that cannot be met: one line on stderr and exit code 2."""

import json
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.recipes import base, urban2017
from pipelines import datasets
from pipelines.stored.integrity import sealed

STUDENT = "student --budget 100k --convs 2 --epochs 1 --schedule cosine"
SHARD = "pass-00000.tfrecord-00000-of-00001"
DIGITS = "--dataset digits --workdir {tmp}/runs --precision float32"


def ask(line: str, **names) -> list[str]:
    return line.format(**names).split()


def refused(capsys, arguments: list[str], *fragments: str) -> None:
    code = main(arguments)
    printed = capsys.readouterr()
    errors = [row for row in printed.err.splitlines() if row.startswith("error: ")]
    assert code == 2, printed.err
    assert len(errors) == 1 and "Traceback" not in printed.err
    assert printed.out == ""
    for fragment in fragments:
        assert fragment in errors[0]


def test_another_backend_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    refused(capsys, ["teacher"], "KERAS_BACKEND is torch", "from Python")


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        ("summary", ["--arch NAME"]),
        ("summary teacher --arch wide-resnet-16-1", ["one of"]),
        ("summary --arch wide-resnet-17-1", ["17", "wide-resnet-16-1"]),
        ("summary teacher --depth-factor 2", ["--arch"]),
        ("student --budget 10X --convs 3", ["'10X'", "10M"]),
        ("student --budget 100 --convs 3", ["smallest possible budget"]),
        ("student --convs 3", ["--budget is missing"]),
        ("student --budget 1M", ["convs"]),
        ("student --budget 1M --convs 7", ["7", "1 to 4"]),
        ("student --budget 1M --hidden 9", ["9", "1 to 5"]),
        ("student --budget 1M --convs 3 --passes 0", ["--passes", "'0'"]),
        ("student --budget 1M --convs 3 --teachers 9", ["--teachers", "9"]),
        ("student --budget 1M --convs 3 --schedule cosine", ["--epochs"]),
        ("student --budget 1M --convs 3 --resident always", ["--store replay"]),
        ("student --recipe /nowhere.json", ["/nowhere.json"]),
        (f"{STUDENT} --temperature 2", ["--temperature belongs to --loss kd"]),
        (f"{STUDENT} --alpha 0", ["--alpha belongs to --loss kd"]),
        (f"{STUDENT} --loss logit-regression --alpha 0.5", ["--loss kd"]),
        ("student --budget 1M --convs 3 --dataset digitz", ["'digits'"]),
        ("student --budget 1M --convs 3 --dataset folder:/nowhere", ["train/"]),
        ("teacher --published 1 --dense 8", ["--filters"]),
        ("baseline --budget 1M --convs 3 --trials 2 --worker 1", ["--chief HOST"]),
        ("baseline --budget 1M --convs 3 --trials 2 --chief 51", ["'51'", "HOST"]),
        ("student --budget 1M --convs 3 --trials 2 --chief a:1", ["precompute"]),
        ("baseline --budget 1M --convs 3 --chief a:1", ["add --trials"]),
        ("teacher --fast --trials 3", ["--fast belongs to"]),
        ("summary student --budget 1M --convs 3 --fast", ["--fast", "summary teacher"]),
        ("teacher --fast --published 1", ["without --fast"]),
        ("student --budget 1M --convs 3 --fast --teachers 1", ["--fast"]),
        ("teacher --filters 8,8 --dense 8 --epochs 1", ["three filter counts"]),
        ("teacher --workdir /dev/null/runs --epochs 1", ["--workdir"]),
        ("ensemble --teacher /nowhere.keras", ["/nowhere.keras"]),
        ("precompute --teacher /nowhere.keras", ["/nowhere.keras"]),
        ("precompute --teacher t.keras --passes 0", ["--passes", "'0'"]),
        ("precompute --teacher t.keras --logits-dtype float64", ["float64"]),
        (
            "precompute --teacher t.keras --extend s --store replay",
            ["--store belongs to"],
        ),
        ("precompute --teacher t.keras --extend s --output t", ["--output"]),
        ("ensemble --teacher t.keras --select all --size 2", ["--size belongs to"]),
        (f"{STUDENT} --members 1,2", ["--distillation-set"]),
        ("verify /nowhere", ["/nowhere is not a distillation set"]),
        ("precompute --teacher t.keras --direct_num_wrkers 2", ["num_workers"]),
        ("evaluate /nowhere.keras", ["/nowhere.keras"]),
        ("export /nowhere.keras", ["/nowhere.keras"]),
        ("export /nowhere.keras --format onxx", ["onxx", "litert-int8"]),
        ("export /nowhere.keras --format onnx --all", ["--all"]),
        ("precompute --teacher keras:MobileNetV2", ["--weights"]),
        ("precompute --teacher keras:X --weights /nowhere.h5", ["/nowhere.h5"]),
        ("student --teacher /tmp --student keras:X", ["no SavedModel"]),
        ("student --student keras:X --budget 1M", ["--budget belongs to"]),
        ("student --student keras:X --trials 2", ["--student", "not to --trials"]),
        ("student --student /nowhere.keras", ["/nowhere.keras"]),
        ("student --student keras:X --precision mixed_bfloat16", ["as it was built"]),
        (f"{STUDENT} --image-size 4", ["4x4x3", "8 to 1024"]),
        (f"{STUDENT} --teacher-output odds", ["odds", "probabilities"]),
        ("evaluate /tmp", ["SavedModel"]),
        (STUDENT + " --distillation-set /dev/null", ["not a distillation set"]),
        (f"{STUDENT} --trials 0", ["--trials", "'0'"]),
        (f"{STUDENT} --trials 2 --oracle genetic", ["'genetic'", "gp"]),
        (f"{STUDENT} --trials 2 --fix momentun=0.9", ["did you mean momentum?"]),
        (f"{STUDENT} --trials 2 --fix momentum=0.1", ["0.68 to 0.97"]),
        (f"{STUDENT} --trials 2 --fix momentum", ["name=value"]),
        (f"{STUDENT} --trials 2 --fix c1=0 --fix c1=1", ["c1 twice"]),
        (f"{STUDENT} --trials 2 --momentum 0.9", ["--momentum belongs to", "--fix"]),
        (f"{STUDENT} --prune", ["--prune", "add --trials"]),
        (f"{STUDENT} --objective-views 9", ["--objective-views", "add --trials"]),
        ("student --convs 3 --trials 2", ["--budget is missing"]),
        ("student --budget 100 --convs 3 --trials 2", ["smallest possible budget"]),
        ("student --recipe r.json --trials 2", ["--recipe"]),
        (f"{STUDENT} --trials 2 --passes 0", ["--passes", "'0'"]),
        (f"{STUDENT} --trials 2 --members 1", ["--distillation-set"]),
        ("teacher --published 1 --trials 2", ["--published belongs to", "--fix"]),
        ("teacher --epochs 1 --tie-dropout", ["--tie-dropout", "add --trials"]),
        ("teacher --trials 2 --tie-dropout --fix dropout_dense_2=0.3", ["_dense_1?"]),
        ("teacher --epochs 1 --devices some", ["'some'", "cpu:N"]),
        ("teacher --epochs 1 --devices cpu:0", ["'cpu:0'"]),
        ("teacher --epochs 1 --devices 64", ["--devices 64", "GPUs here"]),
        ("ensemble --from-search /nowhere", ["no folder of a search"]),
        ("ensemble", ["--from-search"]),
    ],
)
def test_requests(line, fragments, tmp_path, capsys):
    arguments = line.split()
    if "--dataset" not in line:
        arguments += ["--dataset", "digits"]
    if "--workdir" not in line:
        arguments += ["--workdir", str(tmp_path / "runs")]
    refused(capsys, arguments, *fragments)


def test_a_recipe_of_a_network_somebody_brought_has_its_precision(tmp_path, capsys):
    brought = base.GivenNetwork("keras:X", None)
    recipe = urban2017.given(brought, image_shape=(32, 32, 3))
    (tmp_path / "recipe.json").write_text(json.dumps(base.to_json(recipe)))
    line = "student --recipe {tmp}/recipe.json --precision mixed_float16"
    refused(capsys, ask(line, tmp=tmp_path), "mixed_float16", "as it was built")


@pytest.mark.parametrize("verb", ["student --budget 1M --convs 3", "teacher"])
def test_folders(verb, tmp_path, capsys):
    root = tmp_path / "images"
    (root / "train").mkdir(parents=True)
    request = [*verb.split(), "--dataset", f"folder:{root}", "--epochs", "1"]
    request += ["--workdir", str(tmp_path / "runs")]
    refused(capsys, request, "0 class folders")
    for name in ("a", "b"):
        (root / "train" / name).mkdir()
        for index in range(3):
            (root / "train" / name / f"{index}.png").write_bytes(b"no image")
    refused(capsys, request, str(root / "train"), "6 files", "a/0.png", "b/1.png")


def test_a_student_cannot_write(tmp_path, capsys):
    teacher = save_model(tmp_path / "teacher" / "model.keras")
    write_card(teacher)
    line = f"{STUDENT} --passes 1 --teacher {teacher} --dataset digits"
    refused(capsys, [*line.split(), "--workdir", "/dev/null/runs"], "--workdir")


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    teacher = save_model(tmp_path / "teacher" / "model.keras")
    write_card(teacher)
    full = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    line = f"{STUDENT} --passes 160 --teacher {{path}} {DIGITS}"
    refused(capsys, ask(line, path=teacher, tmp=tmp_path), "GB are needed")


def save_model(path, *, classes=10, activation=None, nan=False, seed=0):
    """A tiny model from digits' images, without a card."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )
    if nan:
        model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return path


def write_card(path, **changes):
    data = datasets.load("digits")
    card = {
        "class_names": list(data.class_names),
        "dataset": data.identity(),
        **changes,
    }
    path.with_name("card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("model", "card", "fragment"),
    [
        ({"classes": 7}, None, "10 classes"),
        ({"activation": "softmax"}, None, "probabilities"),
        ({"nan": True}, None, "NaN"),
        ({}, None, "--force"),
        ({}, {"class_names": list("1234567890")}, "class_names"),
        ({}, {"dataset": {"split_seed": 5}}, "split_seed"),
    ],
)
def test_teachers(model, card, fragment, tmp_path, capsys):
    path = save_model(tmp_path / "teacher" / "model.keras", **model)
    if card is not None:
        write_card(path, **card)
    line = f"precompute --passes 1 --teacher {{path}} {DIGITS}"
    refused(capsys, ask(line, path=path, tmp=tmp_path), fragment)


@pytest.mark.parametrize("verb", ["ensemble", STUDENT + " --passes 1"])
def test_every_verb_checks_its_teachers(verb, tmp_path, capsys):
    path = save_model(tmp_path / "teacher" / "model.keras", activation="softmax")
    line = f"{verb} --teacher {{path}} {DIGITS}"
    refused(capsys, ask(line, path=path, tmp=tmp_path), "probabilities")


@pytest.mark.slow  # a quick one of the kind is among the tests of concurrency
def test_second_process_on_a_run_directory(tmp_path, capsys):
    import fcntl

    line = f"baseline --budget 100k --convs 2 --epochs 1 --schedule cosine {DIGITS}"
    arguments = ask(line, tmp=tmp_path)
    from kerasdistill.cli import arguments as grammar
    from kerasdistill.cli import requested
    from kerasdistill.runs import RunDirectory

    asked = grammar.parse(arguments)
    data = datasets.load("digits")
    recipe = requested.maker(asked)(data)
    request = {"recipe": recipe, "dataset": data.identity()}
    folder = RunDirectory.open(asked.workdir, "baseline", request).path
    folder.mkdir(parents=True)
    with open(folder / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(capsys, arguments, "another process", str(folder))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """One pass of digits, labelled by a tiny teacher: the set's directory."""
    root = tmp_path_factory.mktemp("stored")
    teacher = save_model(root / "teacher" / "model.keras")
    write_card(teacher)
    from kerasdistill.experiments import precompute

    made = precompute.run(
        [teacher],
        data=datasets.load("digits"),
        workdir=root / "runs",
        passes=2,
        beam_options=["--direct_running_mode=in_memory"],
    )
    return made["distillation_set"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def swap(path):
    other = path.with_name(path.name.replace("pass-00000", "pass-00001"))
    contents = path.read_bytes(), other.read_bytes()
    path.write_bytes(contents[1])
    other.write_bytes(contents[0])


def other_class_order(path):
    manifest = json.loads(path.read_text())
    del manifest["manifest_sha256"]
    manifest["class_names"].reverse()
    path.write_text(json.dumps(sealed(manifest)))


@pytest.mark.parametrize(
    ("name", "damage", "extra", "fragments"),
    [
        (SHARD, flip, "", [SHARD, "damaged"]),
        (SHARD, truncate, "", [SHARD, "truncated"]),
        (SHARD, "unlink", "", [SHARD, "missing"]),
        (SHARD, swap, "", [SHARD, "swapped"]),
        ("manifest.json", "unlink", "", ["3 of 3 shards"]),
        ("manifest.json", flip, "", ["manifest.json"]),
        ("manifest.json", other_class_order, "", ["class_names"]),
        ("manifest.json", None, "--split-seed 3", ["field dataset."]),
        ("manifest.json", None, "--quick --split-seed 4", ["dataset"]),
    ],
)
def test_distillation_sets(name, damage, extra, fragments, stored, tmp_path, capsys):
    copy = tmp_path / "set"
    shutil.copytree(stored, copy)
    path = copy / name
    if damage == "unlink":
        path.unlink()
    elif damage is not None:
        damage(path)
    line = f"{STUDENT} --distillation-set {{copy}} {DIGITS} {extra}"
    refused(capsys, ask(line, copy=copy, tmp=tmp_path), *fragments)
