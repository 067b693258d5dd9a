"""From parsed arguments to recipes; widths are checked before any data is read."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kerasdistill.budget import Budget
from kerasdistill.cli import objective_options
from kerasdistill.errors import UserError
from kerasdistill.objectives import LogitRegression, Objective, on_stored_logits
from kerasdistill.recipes import (
    base,
    born_again,
    fast,
    reading,
    urban2017,
    urban2017_presets,
)
from kerasdistill.recipes.families import FAMILIES, URBAN
from kerasdistill.runs import read_json

if TYPE_CHECKING:  # `summary` makes recipes without what data needs
    from pipelines import datasets

# In a chain these options are the student's.
_NOT_FOR_TEACHERS = ("learning_rate", "momentum", "batch_size")


def budget_of(asked: argparse.Namespace) -> Budget:
    if asked.budget is None:
        raise UserError("--budget is missing; give one such as --budget 10M")
    return Budget.parse(asked.budget)


def teacher_recipe(asked: argparse.Namespace) -> base.AnyTeacherRecipe:
    if asked.fast:
        if (asked.published, asked.filters, asked.dense) != (None, None, None):
            raise UserError("--fast has widths of its own; leave out the others")
        return fast.teacher()
    if asked.filters is None and asked.dense is None:
        return urban2017.teacher(asked.published or 1)
    if asked.published is not None or asked.filters is None or asked.dense is None:
        raise UserError("give --published, or both --filters A,B,C and --dense H")
    return urban2017.teacher_of(filters=asked.filters, dense=asked.dense)


def born_again_recipe(
    asked: argparse.Namespace,
) -> tuple[base.BornAgainRecipe, list[str]]:
    """The recipe of --arch, and what to know of its printed count."""
    factors = {
        "depth_factor": asked.depth_factor or 1,
        "compression_factor": asked.compression_factor or 1,
    }
    recipe = born_again.recipe(asked.arch, **factors)
    return recipe, born_again.notes(asked.arch, **factors)


def chain_teachers(
    asked: argparse.Namespace, image_data: "datasets.ImageData"
) -> tuple[base.AnyTeacherRecipe, ...]:
    if asked.fast:  # the length of its training is part of its recipe
        recipes = [fast.teacher()]
        own = dict.fromkeys(("epochs", "schedule"))
        asked = argparse.Namespace(**{**vars(asked), **own})
    elif asked.quick:
        recipes = [urban2017.quick_teacher()] * (asked.teachers or 1)
    else:
        published = range(1, (asked.teachers or 3) + 1)
        recipes = [urban2017.teacher(number) for number in published]
    others = dict.fromkeys([*_NOT_FOR_TEACHERS, *objective_options.names()])
    shared = argparse.Namespace(**{**vars(asked), **others})
    return tuple(
        trained_as_asked(
            base.for_images(recipe, image_data.image_shape),
            shared,
            seed=asked.seed + number,
        )
        for number, recipe in enumerate(recipes)
    )


def student_maker(
    asked: argparse.Namespace,
    family: Callable[..., base.StudentRecipe],
) -> Callable[["datasets.ImageData"], base.StudentRecipe]:
    """Checks the request before any data is read; the data then fix the shapes."""
    shape = (asked.budget, asked.convs, asked.hidden)
    arch = getattr(asked, "arch", None) or URBAN
    whole = ("recipe", "preset", "student")  # each is a student of its own
    chosen = [name for name in whole if getattr(asked, name, None) is not None]
    if chosen and (shape != (None, None, None) or arch != URBAN):
        raise UserError(f"--{chosen[0]} fixes the widths; leave out --budget and shape")
    if len(chosen) > 1:
        raise UserError(
            f"--{chosen[0]} and --{chosen[1]} are two students; leave one out"
        )
    if asked.recipe is None:
        check_objective(asked, LogitRegression())
    if chosen == ["preset"]:
        recipe = urban2017_presets.PRESETS[asked.preset]()
        return lambda data: recipe
    if chosen == ["student"]:
        _check_precision(asked)
        from kerasdistill.models import given

        network = given.network(asked.student)
        return lambda data: urban2017.given(network, image_shape=data.image_shape)
    if asked.recipe is not None:
        recipe = _read_recipe(asked)
        if isinstance(recipe, base.GivenStudentRecipe):
            _check_precision(asked)
        check_objective(asked, recipe.training.objective)
        return lambda data: recipe
    widths = {"convs": asked.convs, "hidden": asked.hidden, "kernel": asked.kernel}
    budget = budget_of(asked)
    if arch != URBAN:
        if shape[1:] != (None, None):
            raise UserError(
                f"--convs and --hidden are shapes of --arch {URBAN}; {arch} has one "
                "for each budget: leave them out"
            )
        family, widths = FAMILIES[arch].student, {}
    family(budget=budget, **widths)

    def make(data: "datasets.ImageData") -> base.StudentRecipe:
        shapes = {"image_shape": data.image_shape, "num_classes": data.num_classes}
        return family(budget=budget, **widths, **shapes)

    return make


def _check_precision(asked: argparse.Namespace) -> None:
    if asked.precision not in ("auto", "float32"):
        raise UserError(
            f"--precision {asked.precision} was given, but a network that somebody "
            "brought computes as it was built; leave it out"
        )


def check_labels(asked: argparse.Namespace, objective: Objective) -> None:
    """Refuses, before anything is read, labels that the data have not."""
    from pipelines.datasets import UNLABELLED

    if asked.dataset.startswith(UNLABELLED) and "label" in objective.needs:
        raise UserError(
            f"--loss {objective.name} weighs labels, which {asked.dataset} has not; "
            "use one that learns from the teacher alone, such as ban"
        )


def check_objective(asked: argparse.Namespace, before: Objective) -> None:
    """Refuses a student's loss and its options, `before` being what they change."""
    if asked.verb == "student":
        objective = objective_options.chosen(asked, before)
        check_labels(asked, objective)


def _read_recipe(asked: argparse.Namespace) -> base.StudentRecipe:
    path, value = asked.recipe, read_json(asked.recipe)
    # A run's recipe.json holds the whole request.
    if isinstance(value, dict) and "kind" not in value and "recipe" in value:
        value = value["recipe"]
    recipe = reading.from_json(value)
    if not isinstance(recipe, base.StudentRecipe):
        raise UserError(
            f"{path} is no student's recipe; pass a student's or baseline's"
        )
    losses = on_stored_logits() if asked.verb == "student" else ["hard-label"]
    if recipe.training.loss not in losses:
        raise UserError(
            f"{path} is a recipe with loss {recipe.training.loss!r}, expected "
            f"{' or '.join(losses)}; student and baseline have recipes of their own"
        )
    return recipe


def trained_as_asked(
    recipe: base.Recipe, asked: argparse.Namespace, *, seed: int | None = None
) -> Any:
    """The recipe with the command line's training options in it."""
    from kerasdistill import devices

    if asked.quick:
        own = isinstance(recipe, base.FastTeacherRecipe)
        recipe = fast.quick(recipe) if own else urban2017.quick(recipe)
    given = {
        "epochs": asked.epochs,
        "schedule": asked.schedule,
        "learning_rate": asked.learning_rate,
        "momentum": asked.momentum,
        "batch_size": asked.batch_size,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    training = replace(
        recipe.training,
        precision=(
            "float32"  # somebody else's network computes as it was built
            if isinstance(recipe, base.GivenStudentRecipe)
            else devices.resolve_precision(asked.precision)
        ),
        seed=asked.seed if seed is None else seed,
        objective=objective_options.chosen(asked, recipe.training.objective),
        **changes,
    )
    if training.schedule != "paper" and training.epochs is None:
        raise UserError(f"--schedule {training.schedule} needs --epochs N")
    return replace(recipe, training=training)
