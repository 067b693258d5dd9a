"""From parsed arguments to recipes; widths are checked before any data is read."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kerasdistill.budget import Budget
from kerasdistill.cli import objective_options
from kerasdistill.errors import UserError
from kerasdistill.objectives import LogitRegression, Objective, on_stored_logits
from kerasdistill.recipes import base, fast, reading, urban2017, urban2017_presets
from kerasdistill.recipes.families import FAMILIES, URBAN
from kerasdistill.runs import read_json

if TYPE_CHECKING:  # `summary` makes recipes without what data needs
    from pipelines.datasets import ImageData

    Make = Callable[[ImageData], Any]


def budget_of(args: argparse.Namespace) -> Budget:
    if args.budget is None:
        raise UserError("--budget is missing; give one such as --budget 10M")
    return Budget.parse(args.budget)


def widths_of(args: argparse.Namespace) -> dict[str, Any]:
    """The shape of a student, beside its budget."""
    shape = {"convs": args.convs, "hidden": args.hidden, "kernel": args.kernel}
    return {**shape, "width_rule": width_rule(args)}


def width_rule(args: argparse.Namespace) -> base.WidthRule:
    """How widths are chosen that a budget leads to."""
    return "exact" if args.exact_widths else "rounded"


def with_older_widths(args: argparse.Namespace) -> argparse.Namespace | None:
    """The same command line by the older rule of widths; None where there is none."""
    urban = (getattr(args, "arch", None) or URBAN) == URBAN
    if getattr(args, "budget", None) is None or not urban or args.exact_widths:
        return None
    return argparse.Namespace(**{**vars(args), "exact_widths": True})


def factors(args: argparse.Namespace) -> dict[str, float]:
    """Table 4's, of a DenseNet's depth and compression."""
    return options_of(args, "depth_factor", "compression_factor")


def teacher_recipe(args: argparse.Namespace) -> base.AnyTeacherRecipe:
    if args.fast:
        return fast.teacher()
    if args.filters is None and args.dense is None:
        return urban2017.teacher(args.published or 1)
    if args.published is not None or args.filters is None or args.dense is None:
        raise UserError("give --published, or both --filters A,B,C and --dense H")
    return urban2017.teacher_of(filters=args.filters, dense=args.dense)


def chain_teachers(
    args: argparse.Namespace, data: "ImageData"
) -> tuple[base.AnyTeacherRecipe, ...]:
    """The recipes of the teachers that are trained before a student."""
    students = ["learning_rate", "momentum", "batch_size", *objective_options.names()]
    if args.fast:  # the length of its training is part of its recipe
        recipes = [fast.teacher()]
        students += ["epochs", "schedule"]
    elif args.quick:
        recipes = [urban2017.quick_teacher()] * (args.teachers or 1)
    else:
        recipes = [urban2017.teacher(n + 1) for n in range(args.teachers or 3)]
    shared = argparse.Namespace(**{**vars(args), **dict.fromkeys(students)})
    return tuple(
        with_options(
            base.for_images(recipe, data.image_shape), shared, seed=args.seed + number
        )
        for number, recipe in enumerate(recipes)
    )


def maker(args: argparse.Namespace) -> "Make":
    """Checks what teacher, student or baseline is to train before any data is read.

    Returns:
        A function from the data, which fix the shapes, to the recipe with the command
        line's training options in it.
    """
    if args.verb != "teacher":
        make = student_maker(args)
        return lambda data: with_options(make(data), args)
    recipe = teacher_recipe(args)
    return lambda data: with_options(base.for_images(recipe, data.image_shape), args)


def older_maker(args: argparse.Namespace) -> "Make":
    """As `maker`, by the older rule of widths; what it returns gives None where that
    has no recipe of its own."""
    older = with_older_widths(args)
    return (lambda data: None) if older is None else maker(older)


def student_maker(args: argparse.Namespace) -> "Make":
    """As `maker`, of a student or baseline without its training options."""
    arch = getattr(args, "arch", None) or URBAN
    if args.recipe is not None:
        recipe = _read_recipe(args)
        if isinstance(recipe, base.GivenStudentRecipe):
            _check_precision(args)
        check_objective(args, recipe.training.objective)
        return lambda data: recipe
    check_objective(args, LogitRegression())
    if getattr(args, "preset", None):
        preset = urban2017_presets.PRESETS[args.preset]()
        return lambda data: preset
    if getattr(args, "student", None):
        _check_precision(args)
        from kerasdistill.models import given

        network = given.network(args.student)
        return lambda data: urban2017.given(network, image_shape=data.image_shape)
    options = {"budget": budget_of(args)}
    if arch == URBAN:
        families = {"student": urban2017.student, "baseline": urban2017.baseline}
        family, options = families[args.verb], options | widths_of(args)
    else:
        family = FAMILIES[arch].student
    family(**options)
    return lambda data: family(
        **options, image_shape=data.image_shape, num_classes=data.num_classes
    )


def _check_precision(args: argparse.Namespace) -> None:
    if args.precision not in ("auto", "float32"):
        raise UserError(
            f"--precision {args.precision} was given, but a network that somebody "
            "brought computes as it was built; leave it out"
        )


def check_labels(args: argparse.Namespace, objective: Objective) -> None:
    """Refuses, before anything is read, a loss on labels for unlabelled images."""
    from pipelines import datasets

    if args.dataset.startswith(datasets.UNLABELLED) and "label" in objective.needs:
        raise UserError(
            f"--loss {objective.name} weighs labels, but {args.dataset} has none; "
            "use one that learns from the teacher alone, such as ban"
        )


def check_objective(args: argparse.Namespace, before: Objective) -> None:
    """Refuses a student's loss and its options, `before` being what they change."""
    if args.verb == "student":
        check_labels(args, objective_options.chosen(args, before))


def _read_recipe(args: argparse.Namespace) -> base.StudentRecipe:
    path, value = args.recipe, read_json(args.recipe)
    # A run's recipe.json holds the whole request.
    if isinstance(value, dict) and "kind" not in value and "recipe" in value:
        value = value["recipe"]
    recipe = reading.from_json(value)
    if not isinstance(recipe, base.StudentRecipe):
        raise UserError(
            f"{path} is no student's recipe; pass a student's or baseline's"
        )
    losses = on_stored_logits() if args.verb == "student" else ["hard-label"]
    if (loss := recipe.training.loss) not in losses:
        raise UserError(
            f"{path} is a recipe with loss {loss!r}, expected {' or '.join(losses)}; "
            "student and baseline have recipes of their own"
        )
    return recipe


def with_options(
    recipe: base.Recipe, args: argparse.Namespace, *, seed: int | None = None
) -> Any:
    """The recipe with the command line's training options in it."""
    from kerasdistill.training.engines import current

    if args.quick:
        own = isinstance(recipe, base.FastTeacherRecipe)
        recipe = fast.quick(recipe) if own else urban2017.quick(recipe)
    # Somebody else's network computes as it was built.
    as_built = isinstance(recipe, base.GivenStudentRecipe)
    training = replace(
        recipe.training,
        precision="float32"
        if as_built
        else current().resolve_precision(args.precision),
        seed=args.seed if seed is None else seed,
        objective=objective_options.chosen(args, recipe.training.objective),
        **options_of(
            args, "epochs", "schedule", "learning_rate", "momentum", "batch_size"
        ),
    )
    if training.schedule != "paper" and training.epochs is None:
        raise UserError(f"--schedule {training.schedule} needs --epochs N")
    return replace(recipe, training=training)


def options_of(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the options that the command line has, with their values."""
    options = {name: getattr(args, name) for name in names}
    return {name: value for name, value in options.items() if value is not None}
