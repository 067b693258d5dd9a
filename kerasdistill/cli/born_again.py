"""The verb born-again: from a command line to a chain of generations."""

import argparse
import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras

from kerasdistill.cli import interpret, objective_options, requested
from kerasdistill.errors import UserError
from kerasdistill.objectives import HardLabel
from kerasdistill.recipes import base, born_again
from kerasdistill.recipes.architectures import WideResNet
from kerasdistill.training import engines

QUICK_ARCH, QUICK_EPOCHS = "wide-resnet-10-1", 10


def run(args: argparse.Namespace) -> dict[str, Any]:
    """born-again: generations, each taught by the one before, and their ensembles."""
    from kerasdistill.experiments.born_again import story as experiment
    from kerasdistill.experiments.born_again.signals import Signal

    _check(args)
    with _custom_objects(args.custom_objects):
        data, teacher = interpret.data(args), args.teacher
        if teacher is not None:
            (teacher,) = interpret.adapted_teachers(args, [teacher], data)
        request = experiment.BornAgain(
            arch=args.arch or QUICK_ARCH,
            recipe=recipe(args),
            generations=args.generations,
            signal=Signal(
                kind=args.teacher_signal,
                passes=args.passes,
                store=args.store or "replay",
                resident=args.resident or "auto",
            ),
            teacher_path=teacher,
            force=args.force,
            **requested.factors(args),
        )
        return experiment.run(
            request,
            data=data,
            workdir=args.workdir,
            command=interpret.command(),
            only_plan=args.plan,
        )


def recipe(args: argparse.Namespace) -> base.BornAgainRecipe:
    """The students' recipe; generation 0's differs in the loss alone."""
    style = args.recipe_style or "wide-resnet"
    made = born_again.recipe(
        args.arch or QUICK_ARCH, style=style, **requested.factors(args)
    )
    made = base.for_images(made, interpret.image_shape(args))
    network = made.architecture
    if args.dropout is not None:
        if not isinstance(network, WideResNet):
            raise UserError(f"--arch {args.arch} has no dropout; leave out --dropout")
        network = replace(network, dropout_rate=args.dropout)
    changes = {"epochs": QUICK_EPOCHS, "batch_size": 32} if args.quick else {}
    changes |= requested.options_of(
        args, "epochs", "schedule", "learning_rate", "batch_size"
    )
    training = replace(
        made.training,
        objective=objective_options.chosen(args, made.training.objective),
        seed=args.seed,
        precision=engines.current().resolve_precision(args.precision),
        **changes,
    )
    return replace(made, architecture=network, training=training)


def _check(args: argparse.Namespace) -> None:
    """Refuses what contradicts itself, before any data is read."""
    if args.arch is None and not args.quick:
        raise UserError(f"--arch is missing; give one such as {born_again.EXAMPLES}")
    objective = objective_options.chosen(args, HardLabel())
    requested.check_labels(args, objective)
    if args.teacher_signal == "stored" and not objective.learns_from_teacher:
        raise UserError(
            f"--loss {args.loss} asks no teacher; leave out --teacher-signal stored"
        )


@contextlib.contextmanager
def _custom_objects(module: str | None) -> Iterator[None]:
    """Within it, Keras finds the module's layers, models and functions by name."""
    if module is None:
        yield
        return
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does, and a script does not
    try:
        content = importlib.import_module(module)
    except Exception as error:  # whatever that module raises
        raise UserError(
            f"--custom-objects {module} cannot be imported ({type(error).__name__}: "
            f"{error}); give a module's name, such as package.layers"
        ) from error
    classes = inspect.getmembers(content, inspect.isclass)
    own = dict(classes + inspect.getmembers(content, inspect.isfunction))
    with keras.saving.custom_object_scope(own):
        yield
