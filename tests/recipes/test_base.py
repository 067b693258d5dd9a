import dataclasses
import json

import pytest

from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from kerasdistill.objectives import KnowledgeDistillation
from kerasdistill.recipes import base, reading, urban2017

KD = KnowledgeDistillation(3.0, 0.25)
TEACHER = urban2017.teacher(1)
STUDENT = urban2017.student(budget=Budget(250_000), convs=1)
RECIPES = {
    **{f"teacher {n}": urban2017.teacher(n) for n in (1, 2, 3)},
    **{
        f"{convs} convolutions": urban2017.student(budget=Budget(250_000), convs=convs)
        for convs in (1, 2, 3, 4)
    },
    **{
        f"{hidden} hidden": urban2017.student(budget=Budget(250_000), hidden=hidden)
        for hidden in (1, 2)
    },
    "every field changed": base.StudentRecipe(
        base.Student((5,), (7,), None, 3, 3, 0.5, 2.0, (0.1, 0.2), 1e-4, 2),
        base.Training(0.1, 0.5, 32, "cosine", 7, KD, "mixed_bfloat16", 11),
        base.Augmentation(0.0, 0.1, 0.2, 0.3, 0.4, 28, False, False),
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_round_trip_through_json(name):
    recipe = RECIPES[name]
    text = json.dumps(base.to_json(recipe), allow_nan=False)
    read = reading.from_json(json.loads(text))
    assert read == recipe
    assert hash(read) == hash(recipe)  # tuples came back as tuples


def test_left_out_fields_have_their_defaults_and_integers_serve_as_reals():
    value = base.to_json(STUDENT)
    del value["augmentation"], value["training"]["batch_size"]
    value["training"]["learning_rate"] = 1
    read = reading.from_json(value)
    assert read.augmentation == base.Augmentation()
    assert read.training.batch_size == 128
    assert isinstance(read.training.learning_rate, float)


def changed(recipe, path, value):
    result = json.loads(json.dumps(base.to_json(recipe)))
    *parents, last = path.split(".")
    inner = result
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return result


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.learning_rate", "fast", "'fast', expected float"),
        ("training.learning_rate", None, "None, expected float"),
        ("training.learning_rate", True, "True, expected float"),
        ("training.momentum", float("nan"), "nan, expected float"),
        ("training.batch_size", 12.5, "12.5, expected int"),
        ("training.batch_size", True, "True, expected int"),
        ("training.epochs", "ten", "'ten', expected int"),
        ("training.schedule", "steps", "'steps', expected .*'paper', 'cosine'"),
        ("training.loss", "mse", "'mse', expected .*'logit-regression'"),
        ("training.loss", ["kd"], r"\['kd'\], expected .*'logit-regression'"),
        ("training.objective", "kd", "'kd', expected .*'logit-regression'"),
        ("training.objective", {"name": "mse"}, "'mse', expected .*'logit-regr"),
        ("training", 3, "3, expected an object"),
        ("architecture.filters", [1, 2], r"\[1, 2\], expected tuple"),
        ("architecture.filters", "abc", "'abc', expected tuple"),
        ("architecture.filters", [1, 2, "3"], "'3', expected int"),
        ("augmentation.mirror", 1, "1, expected bool"),
    ],
)
def test_a_bad_value_is_named(path, value, message):
    with pytest.raises(UserError, match=f"TeacherRecipe.{path} is {message}"):
        reading.from_json(changed(TEACHER, path, value))


def test_an_unknown_field_is_named():
    with pytest.raises(UserError, match=r"StudentRecipe\.training\.lr is not known"):
        reading.from_json(changed(STUDENT, "training.lr", 0.1))
    with pytest.raises(UserError, match=r"StudentRecipe\.teacher is not known"):
        reading.from_json(changed(STUDENT, "teacher", {}))


def test_a_missing_field_is_named():
    value = base.to_json(STUDENT)
    del value["training"]["momentum"]
    with pytest.raises(UserError, match="StudentRecipe.training lacks .*'momentum'"):
        reading.from_json(value)


@pytest.mark.parametrize("value", [{}, {"kind": "Recipe"}, [], None, "TeacherRecipe"])
def test_something_else_altogether(value):
    with pytest.raises(
        UserError, match="'kind' among TeacherRecipe, FastTeacherRecipe, StudentRecipe"
    ):
        reading.from_json(value)


def test_recipes_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TEACHER.training.seed = 1
