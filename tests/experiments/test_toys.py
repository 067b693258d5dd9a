"""A loss and a family of students that are written in this file alone serve as any."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kerasdistill.cli import arguments, born_again
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.experiments import precompute
from kerasdistill.exports import cards
from kerasdistill.models import build
from kerasdistill.objectives import OBJECTIVES, Objective, setting
from kerasdistill.recipes import base, families, reading, urban2017
from kerasdistill.runs import read_json
from kerasdistill.training.distillation_models import StudentModel
from pipelines import datasets


@dataclass(frozen=True)
class Toy(Objective):
    """The distance of the logits, so many times."""

    toy_strength: float = setting(1.0, "a number above 0", about="how much")
    name = "toy"
    needs = ("teacher_logits",)

    def per_example(self, batch, logits, **_):
        """float32 [batch]."""
        distances = ops.abs(ops.cast(logits, "float32") - batch["teacher_logits"])
        return self.toy_strength * ops.sum(distances, axis=-1)


@dataclass(frozen=True)
class ToyNetwork:
    """One hidden layer."""

    units: int
    bias: bool = True


def toy_student(*, budget, image_shape=(32, 32, 3), num_classes=10):
    inputs = math.prod(image_shape)
    units = round((budget.num_params - num_classes) / (inputs + 1 + num_classes))
    if units < 1:
        smallest = inputs + 1 + 2 * num_classes
        raise UserError(f"budget {budget} is too small; give at least {smallest}")
    like = urban2017.given(base.GivenNetwork("", None), image_shape=image_shape)
    return base.StudentRecipe(ToyNetwork(units), like.training, like.augmentation)


def build_toy(architecture, *, image_shape, num_classes, seed, precision):
    layers = [
        keras.Input(image_shape),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
    ]
    for place, size in enumerate((architecture.units, num_classes)):
        start = keras.initializers.GlorotUniform(seed=seed + place)
        layers.append(keras.layers.Dense(size, kernel_initializer=start))
    return keras.Sequential(layers)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "toy", Toy)
    family = families.Family(ToyNetwork, toy_student)
    monkeypatch.setitem(families.FAMILIES, "toy-network", family)
    monkeypatch.setitem(build.FAMILIES, ToyNetwork, build.Family(build_toy))


def network(seed, shape=(8, 8, 1)):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_initializer=start),
        ]
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A pass of digits, labelled by a teacher that knows nothing: workdir and set."""
    root = tmp_path_factory.mktemp("toy")
    data = datasets.load("digits")
    teacher = cards.save_model(
        network(0, data.image_shape),
        root / "teacher",
        kind="teacher",
        class_names=data.class_names,
        dataset=data.identity(),
        recipe={},
    )
    options = ["--direct_running_mode=in_memory"]
    made = precompute.run(
        [teacher], data=data, workdir=root, passes=1, beam_options=options, force=True
    )
    return root, made["distillation_set"]


def ask(capsys, *words):
    code = main([*map(str, words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_student_resume_and_report(stored, capsys, monkeypatch):
    workdir, path = stored
    line = "student --budget 30k --convs 2 --epochs 1 --schedule cosine --loss toy"
    line += " --toy-strength 2 --dataset digits --precision float32 --json"
    line = [*line.split(), "--distillation-set", path, "--workdir", workdir]
    code, out, err = ask(capsys, *line)
    assert code == 0, err
    found = json.loads(out)
    objective = {"name": "toy", "toy_strength": 2.0}
    assert found["recipe"]["training"]["objective"] == objective
    assert reading.from_json(found["recipe"]).training.objective == Toy(2.0)
    run = Path(found["results"]).parent
    request = read_json(run / "recipe.json")
    assert request["recipe"]["training"]["objective"] == objective
    # Killed after its last epoch, it goes on from there to the same end.
    (run / "results.json").unlink()
    code, out, err = ask(capsys, *line)
    assert code == 0 and "resuming after epoch 1" in err
    assert json.loads(out)["weights_digest"] == found["weights_digest"]
    # Another strength is another run.
    code, out, _ = ask(capsys, *line, "--toy-strength", "3")
    other = json.loads(out)
    assert code == 0 and other["weights_digest"] != found["weights_digest"]
    assert Path(other["results"]).parent != run
    assert ask(capsys, "report", "--workdir", workdir)[0] == 0
    monkeypatch.delitem(OBJECTIVES, "toy")  # nor does one that is gone break it
    assert ask(capsys, "report", "--workdir", workdir)[0] == 0
    code, _, err = ask(capsys, "student", "--recipe", run / "recipe.json")
    assert code == 2 and "objective is 'toy', expected one of" in err


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ("--loss kd --toy-strength 2", ["--toy-strength belongs to --loss toy;"]),
        ("--loss toy --alpha 0.5", ["--alpha belongs to --loss kd;"]),
        ("--loss toy --toy-strength 0", ["--toy-strength", "'0'", "above 0"]),
        ("--loss toys", ["'toys'", "'toy'"]),
    ],
)
@pytest.mark.parametrize(
    "verb", ["student --budget 30k --convs 2", "born-again --arch wide-resnet-10-1"]
)
def test_refusals(verb, words, fragments, capsys):
    code, out, err = ask(capsys, *verb.split(), *words.split())
    assert code == 2 and out == ""
    assert all(fragment in err.splitlines()[-1] for fragment in fragments), err


def test_born_again_takes_it():
    line = "born-again --arch wide-resnet-10-1 --loss toy --toy-strength 0.5"
    recipe = born_again.recipe(arguments.parse(line.split()))
    assert recipe.training.objective == Toy(0.5)
    assert reading.from_json(base.to_json(recipe)) == recipe


def test_python():
    shell = StudentModel(network(1), Toy(2.0))
    shell.compile(keras.optimizers.SGD(0.0))
    generator = np.random.default_rng(0)
    batch = {
        "image": generator.normal(size=(6, 8, 8, 1)).astype(np.float32),
        "teacher_logits": generator.normal(size=(6, 10)).astype(np.float32),
    }
    logits = shell.student(batch["image"])
    found = shell.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history["loss"]
    distances = np.abs(logits - batch["teacher_logits"]).sum(axis=1)
    np.testing.assert_allclose(found, [2 * distances.mean()], rtol=1e-5)


def test_a_family_under_a_budget(stored, capsys):
    workdir, path = stored
    line = "student --arch toy-network --budget 200k --epochs 1 --schedule cosine"
    where = ["--dataset", "digits", "--precision", "float32", "--workdir", workdir]
    known = ["--distillation-set", path, *where, "--json"]
    code, out, err = ask(capsys, *line.split(), *known)
    assert code == 0, err
    found = json.loads(out)
    assert abs(found["num_params"] / 200_000 - 1) < 0.01
    told = found["recipe"]["architecture"]
    assert told == {"kind": "ToyNetwork", "units": told["units"], "bias": True}
    assert type(reading.from_json(found["recipe"]).architecture) is ToyNetwork
    again = ["student", "--recipe", Path(found["results"]).with_name("recipe.json")]
    code, out, err = ask(capsys, *again, *known)
    assert code == 0 and json.loads(out)["results"] == found["results"], err
    assert ask(capsys, "report", "--workdir", workdir)[0] == 0
    for more, fragment in (
        ("--convs 3", "--convs belongs to --arch urban"),
        ("--trials 3", "--arch belongs to single trainings"),
        ("--budget 10", "is too small"),
    ):
        code, _, err = ask(capsys, *line.split(), *more.split(), *where)
        assert code == 2 and fragment in err.splitlines()[-1]
