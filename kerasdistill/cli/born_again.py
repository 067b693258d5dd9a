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

from kerasdistill import devices
from kerasdistill.cli import interpret, objective_options, requested
from kerasdistill.errors import UserError
from kerasdistill.objectives import HardLabel
from kerasdistill.recipes import base, born_again
from kerasdistill.recipes.architectures import WideResNet

QUICK_ARCH, QUICK_EPOCHS = "wide-resnet-10-1", 10


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """born-again: generations, each taught by the one before, and their ensembles."""
    from kerasdistill.experiments.born_again import story as experiment
    from kerasdistill.experiments.born_again.signals import Signal

    _check(asked)
    request = experiment.BornAgain(
        arch=asked.arch or QUICK_ARCH,
        recipe=recipe(asked),
        generations=asked.generations,
        signal=Signal(
            kind=asked.teacher_signal,
            passes=asked.passes,
            store=asked.store or "replay",
            resident=asked.resident or "auto",
        ),
        teacher_path=asked.teacher,
        force=asked.force,
        depth_factor=asked.depth_factor or 1,
        compression_factor=asked.compression_factor or 1,
    )
    with _custom_objects(asked.custom_objects):
        return experiment.run(
            request,
            data=interpret.data(asked),
            workdir=asked.workdir,
            command=interpret.command(),
            only_plan=asked.plan,
        )


def recipe(asked: argparse.Namespace) -> base.BornAgainRecipe:
    """The students' recipe; generation 0's differs in the loss alone."""
    made = born_again.recipe(
        asked.arch or QUICK_ARCH,
        depth_factor=asked.depth_factor or 1,
        compression_factor=asked.compression_factor or 1,
        style=asked.recipe_style or "wide-resnet",
    )
    made = base.for_images(made, interpret.image_shape(asked))
    network = made.architecture
    if asked.dropout is not None:
        if not isinstance(network, WideResNet):
            raise UserError(f"--arch {asked.arch} has no dropout; leave out --dropout")
        network = replace(network, dropout_rate=asked.dropout)
    given = {
        "epochs": asked.epochs or (QUICK_EPOCHS if asked.quick else None),
        "schedule": asked.schedule,
        "learning_rate": asked.learning_rate,
        "batch_size": asked.batch_size or (32 if asked.quick else None),
    }
    training = replace(
        made.training,
        objective=objective_options.chosen(asked, made.training.objective),
        seed=asked.seed,
        precision=devices.resolve_precision(asked.precision),
        **{name: value for name, value in given.items() if value is not None},
    )
    return replace(made, architecture=network, training=training)


def _check(asked: argparse.Namespace) -> None:
    """Refuses what contradicts itself, before any data is read."""
    if asked.arch is None and not asked.quick:
        raise UserError(f"--arch is missing; give one such as {born_again.EXAMPLES}")
    if asked.generations < 1:
        raise UserError(
            f"--generations is {asked.generations}, expected at least 1 student"
        )
    if asked.dropout == 1:
        raise UserError("--dropout 1 leaves nothing; give a rate below 1")
    objective = objective_options.chosen(asked, HardLabel())
    requested.check_labels(asked, objective)
    if asked.teacher_signal == "stored" and not objective.learns_from_teacher:
        raise UserError(
            f"--loss {asked.loss} asks no teacher; leave out --teacher-signal stored"
        )
    for options, belongs, where in (
        (
            ("passes", "store", "resident"),
            asked.teacher_signal == "stored",
            "--teacher-signal stored",
        ),
        (("custom_objects", "force"), asked.teacher is not None, "--teacher PATH"),
    ):
        for name in options:
            if getattr(asked, name) and not belongs:
                option = name.replace("_", "-")
                raise UserError(f"--{option} belongs to {where}; leave it out")
    if asked.custom_objects and asked.teacher_signal == "stored":
        raise UserError(
            "--custom-objects are known to this process alone, not to Beam's workers; "
            "use --teacher-signal live"
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
        found = vars(importlib.import_module(module))
    except Exception as error:  # whatever that module raises
        raise UserError(
            f"--custom-objects {module} cannot be imported ({type(error).__name__}: "
            f"{error}); give a module's name, such as package.layers"
        ) from error
    own = {
        name: value
        for name, value in found.items()
        if inspect.isclass(value) or inspect.isfunction(value)
    }
    with keras.saving.custom_object_scope(own):
        yield
