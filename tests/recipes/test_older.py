"""What older versions wrote is read, and means what it meant."""

import dataclasses
import json

import pytest

from kerasdistill import requests
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from kerasdistill.objectives import (
    OBJECTIVES,
    BanWithLabels,
    KnowledgeDistillation,
    PermutedPredictions,
)
from kerasdistill.recipes import base, born_again, fast, ptb, reading, urban2017
from kerasdistill.recipes.older import training_of
from kerasdistill.recipes.urban2017_presets import PRESETS


def learning(recipe, objective):
    training = dataclasses.replace(recipe.training, objective=objective)
    return dataclasses.replace(recipe, training=training)


STUDENT = urban2017.student(budget=Budget(300_000), hidden=2)
GENERATION = born_again.recipe("wide-resnet-28-2")
RECIPES = [
    urban2017.teacher(),
    fast.teacher(),
    STUDENT,
    learning(STUDENT, KnowledgeDistillation(4.0, 0.7)),
    PRESETS["snn-ecnn-mimic-30k"](),
    urban2017.baseline(budget=Budget(300_000), convs=2),
    born_again.recipe("ban-wide-resnet-4-0.5"),
    learning(GENERATION, BanWithLabels(2.0, label_weight=0.5)),
    learning(GENERATION, PermutedPredictions(permutation="fixed")),
    learning(ptb.language_model("lstm"), BanWithLabels(label_weight=0.5)),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_of_older_versions(recipe):
    older = json.loads(json.dumps(requests.older({"recipe": recipe})["recipe"]))
    assert older["training"]["loss"] == recipe.training.loss
    assert "objective" not in older["training"]
    assert reading.from_json(older) == recipe
    assert training_of(older) == training_of(requests.plain({"": recipe})[""])


def test_as_it_was_written():
    """A student's training before a loss was a value, word for word."""
    training = {
        "learning_rate": 0.003,
        "momentum": 0.9,
        "batch_size": 128,
        "schedule": "paper",
        "epochs": None,
        "loss": "kd",
        "temperature": 4.0,
        "alpha": 0.7,
        "precision": "float32",
        "seed": 0,
        "clip_norm": 30.0,
        "optimizer": "sgd",
        "label_smoothing": 0.0,
    }
    kd = learning(STUDENT, KnowledgeDistillation(4.0, 0.7))
    assert requests.older(kd.training) == training
    written = {**base.to_json(STUDENT), "training": training}
    assert reading.from_json(written) == kd
    # A checkpoint holds it too, and is gone on with.
    assert requests.same(training, kd.training)
    del training["label_smoothing"], training["optimizer"]  # still older
    assert reading.from_json({**written, "training": training}) == kd
    assert not requests.same({**training, "alpha": 0.5}, kd.training)


@pytest.mark.parametrize("loss", ["mse", ["kd"], None])
def test_a_loss_that_is_not_known(loss):
    value = requests.older({"": STUDENT})[""]
    value["training"]["loss"] = loss
    with pytest.raises(UserError, match="StudentRecipe.training.loss is .*'cwtm'"):
        reading.from_json(value)


def test_a_generation_of_another_loss():
    recipe = base.to_json(learning(GENERATION, BanWithLabels(label_weight=0.5)))
    found = training_of(recipe, loss="hard-label")
    assert "label_weight" not in found and found["loss"] == "hard-label"
    assert training_of(recipe, loss="ban+l")["label_weight"] == 0.5


def test_every_objective_has_defaults_and_a_name():
    for name, kind in OBJECTIVES.items():
        assert kind().name == name
        assert requests.plain(kind())["name"] == name
