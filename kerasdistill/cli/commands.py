"""The verbs: from parsed arguments to an experiment's results.

Experiments are imported by the verb that needs them, because Apache Beam alone takes
seconds.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill import cards, devices, evaluation, export
from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from kerasdistill.models import cnn_teacher, loading, summary
from kerasdistill.models import student as student_model
from kerasdistill.recipes import base, urban2017
from kerasdistill.runs import read_json
from pipelines import datasets

QUICK_PASSES, PAPER_PASSES = 24, 160


def run_teacher(asked: argparse.Namespace) -> dict[str, Any]:
    """teacher: train one on hard labels."""
    from kerasdistill.experiments import teacher

    data = _data(asked)
    recipe = _trained_as_asked(_teacher_recipe(asked), asked)
    return teacher.run(recipe, data=data, workdir=asked.workdir)


def run_ensemble(asked: argparse.Namespace) -> dict[str, Any]:
    """ensemble: the mean of the members' logits."""
    from kerasdistill.experiments import ensemble

    data = _data(asked)
    return ensemble.run(
        asked.teacher, data=data, workdir=asked.workdir, force=asked.force
    )


def run_precompute(asked: argparse.Namespace) -> dict[str, Any]:
    """precompute: label augmented passes."""
    from kerasdistill.experiments import precompute
    from pipelines.precompute import beam_options

    options = beam_options(asked.beam_arguments, own_options=asked.own_options)
    _check_passes(asked.passes)
    return precompute.run(
        asked.teacher,
        data=_data(asked),
        workdir=asked.workdir,
        passes=asked.passes,
        store=asked.store,
        seed=asked.seed,
        workers=asked.workers,
        beam_options=[*options, *asked.beam_unchecked],
        force=asked.force,
        command=_command(),
    )


def run_student(asked: argparse.Namespace) -> dict[str, Any]:
    """student: from a set, from teachers, or from nothing."""
    from kerasdistill.experiments import chain, student

    passes = asked.passes
    if passes is None:
        passes = QUICK_PASSES if asked.quick else PAPER_PASSES
    _check_passes(passes)
    _check_teachers(asked.teachers)
    make = _student_maker(asked, urban2017.student)
    data = _data(asked)
    recipe = _trained_as_asked(make(data), asked)
    loss = {"temperature": asked.temperature, "alpha": asked.alpha}
    training = replace(recipe.training, loss=asked.loss, **loss)
    recipe = replace(recipe, training=training)
    if asked.distillation_set:
        return student.run(
            recipe,
            data=data,
            workdir=asked.workdir,
            distillation_set_path=asked.distillation_set,
        )
    planned = chain.Chain(
        teachers=() if asked.teacher else _chain_teachers(asked),
        teacher_paths=tuple(asked.teacher or ()),
        student=recipe,
        passes=passes,
        store=asked.store,
        seed=asked.seed,
    )
    chain.announce(planned, data=data, workdir=asked.workdir)
    return chain.run(
        planned,
        data=data,
        workdir=asked.workdir,
        force=asked.force,
        command=_command(),
    )


def run_baseline(asked: argparse.Namespace) -> dict[str, Any]:
    """baseline: a student's architecture on hard labels."""
    from kerasdistill.experiments import baseline

    make = _student_maker(asked, urban2017.baseline)
    data = _data(asked)
    recipe = _trained_as_asked(make(data), asked)
    return baseline.run(recipe, data=data, workdir=asked.workdir)


def run_evaluate(asked: argparse.Namespace) -> dict[str, Any]:
    """evaluate: accuracy of a model file or SavedModel on a split."""
    data = _data(asked)
    examples = data.split(asked.split)
    if Path(asked.path).is_dir():
        logits = export.scored(asked.path, examples.images)
    else:
        logits = evaluation.predict(loading.load(asked.path), examples.images)
    if logits.shape[1] != data.num_classes:
        raise UserError(
            f"{asked.path} gives {logits.shape[1]} logits, {data.name} has "
            f"{data.num_classes} classes; evaluate it on its own data set"
        )
    return {
        "accuracy": evaluation.accuracy(logits, examples.labels),
        "num_examples": len(examples),
        "split": asked.split,
    }


def run_export(asked: argparse.Namespace) -> dict[str, Any]:
    """export: saved_models/NAME."""
    model = loading.load(asked.path)
    name = asked.name or Path(asked.path).resolve().parent.name
    if Path(name).name != name:
        raise UserError(f"--name {name!r} is a path; give a plain folder name")
    target = Path("saved_models") / name
    card = cards.read_card(asked.path) or {}
    images = _data(asked).validation.images[:64]
    parity = export.export_saved_model(model, target, card=card, images=images)
    return {"saved_model": str(target), "parity": parity}


def run_summary(asked: argparse.Namespace) -> dict[str, Any]:
    """summary: layers and trainable parameters."""
    shape = (datasets.IMAGE_SIDE, datasets.IMAGE_SIDE, 3)
    if asked.what == "teacher":
        recipe, build = _teacher_recipe(asked), cnn_teacher.build
    else:
        budget, build = _budget(asked), student_model.build
        recipe = urban2017.student(
            budget=budget,
            convs=asked.convs,
            hidden=asked.hidden,
            kernel=asked.kernel,
            image_shape=shape,
            num_classes=asked.classes,
        )
    model = build(
        recipe.architecture, image_shape=shape, num_classes=asked.classes, seed=0
    )
    return {
        "num_params": summary.num_trainable(model),
        "layers": summary.layer_table(model),
        "recipe": base.to_json(recipe),
    }


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "teacher": run_teacher,
    "ensemble": run_ensemble,
    "precompute": run_precompute,
    "student": run_student,
    "baseline": run_baseline,
    "evaluate": run_evaluate,
    "export": run_export,
    "summary": run_summary,
}


def readable(answer: dict[str, Any]) -> str:
    """The answer for people: plain fields, one a line, and what to do next."""
    lines = []
    for row in answer.get("layers", ()):
        shape = "x".join(map(str, row["output_shape"] or ["-"]))
        lines.append(
            f"{row['name']:<16}{row['kind']:<20}{shape:<12}{row['num_params']:>12,}"
        )
    for key, value in answer.items():
        if isinstance(value, float):
            value = f"{value:.4f}"
        if not isinstance(value, dict | list) and value is not None:
            lines.append(f"{key + ':':<20}{value}")
    if "saved_model" in answer and "model" in answer:
        saved = shlex.quote(answer["saved_model"])
        dataset = shlex.quote(answer["dataset"]["name"])
        lines += [
            "next:",
            f"  python -m kerasdistill.cli evaluate {saved} --dataset {dataset}",
            f"  tensorboard --logdir {shlex.quote(str(Path(answer['model']).parent))}",
        ]
    return "\n".join(lines)


def _data(asked: argparse.Namespace) -> datasets.ImageData:
    return datasets.load(
        asked.dataset,
        data_dir=asked.data_dir,
        split_seed=asked.split_seed,
        quick=asked.quick,
    )


def _command() -> str:
    return shlex.join(["python", "-m", "kerasdistill.cli", *sys.argv[1:]])


def _check_passes(passes: int) -> None:
    if passes < 1:
        raise UserError(f"--passes is {passes}, expected at least 1")


def _check_teachers(count: int | None) -> None:
    most = len(urban2017.PUBLISHED_TEACHERS)
    if count is not None and not 1 <= count <= most:
        raise UserError(f"--teachers is {count}, expected 1 to {most}")


def _budget(asked: argparse.Namespace) -> Budget:
    if asked.budget is None:
        raise UserError("--budget is missing; give one such as --budget 10M")
    return Budget.parse(asked.budget)


def _teacher_recipe(asked: argparse.Namespace) -> base.TeacherRecipe:
    if asked.filters is None and asked.dense is None:
        return urban2017.teacher(asked.published or 1)
    if asked.published is not None or asked.filters is None or asked.dense is None:
        raise UserError("give --published, or both --filters A,B,C and --dense H")
    return urban2017.teacher_of(filters=asked.filters, dense=asked.dense)


def _chain_teachers(asked: argparse.Namespace) -> tuple[base.TeacherRecipe, ...]:
    if asked.quick:
        recipes = [urban2017.quick_teacher()] * (asked.teachers or 1)
    else:
        published = range(1, (asked.teachers or 3) + 1)
        recipes = [urban2017.teacher(number) for number in published]
    shared = argparse.Namespace(**{**vars(asked), **_NOT_FOR_TEACHERS})
    return tuple(
        _trained_as_asked(recipe, shared, seed=asked.seed + number)
        for number, recipe in enumerate(recipes)
    )


# In a chain these options are the student's.
_NOT_FOR_TEACHERS = {"learning_rate": None, "momentum": None, "batch_size": None}


def _student_maker(
    asked: argparse.Namespace, family: Callable[..., base.StudentRecipe]
) -> Callable[[datasets.ImageData], base.StudentRecipe]:
    """Checks the request before any data is read; the data then fix the shapes."""
    if asked.recipe is not None:
        if asked.budget or asked.convs or asked.hidden:
            raise UserError("--recipe fixes the widths; leave out --budget and shape")
        recipe = base.from_json(read_json(asked.recipe))
        if not isinstance(recipe, base.StudentRecipe):
            raise UserError(f"{asked.recipe} is no student's recipe")
        return lambda data: recipe
    widths = {"convs": asked.convs, "hidden": asked.hidden, "kernel": asked.kernel}
    budget = _budget(asked)
    family(budget=budget, **widths)

    def make(data: datasets.ImageData) -> base.StudentRecipe:
        shapes = {"image_shape": data.image_shape, "num_classes": data.num_classes}
        return family(budget=budget, **widths, **shapes)

    return make


def _trained_as_asked(
    recipe: base.Recipe, asked: argparse.Namespace, *, seed: int | None = None
) -> Any:
    """The recipe with the command line's training options in it."""
    if asked.quick:
        recipe = urban2017.quick(recipe)
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
        precision=devices.resolve_precision(asked.precision),
        seed=asked.seed if seed is None else seed,
        **changes,
    )
    if training.schedule == "cosine" and training.epochs is None:
        raise UserError("--schedule cosine needs --epochs N")
    return replace(recipe, training=training)
