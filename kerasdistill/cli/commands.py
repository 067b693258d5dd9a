"""The verbs: from parsed arguments to an experiment's results.

Experiments are imported by the verb that needs them, because Apache Beam alone takes
seconds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill import evaluation
from kerasdistill.cli import born_again as born_again_verb
from kerasdistill.cli import (
    inspecting,
    interpret,
    language,
    reproducing,
    requested,
    searching,
)
from kerasdistill.cli.looking_options import EXPORT_FORMATS
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.models import loading
from kerasdistill.recipes import base, urban2017


def run_teacher(asked: argparse.Namespace) -> dict[str, Any]:
    """teacher: train one on hard labels."""
    from kerasdistill.experiments import teacher

    if searching.asked_for(asked):
        return searching.run_teacher(asked)
    data = interpret.data(asked)
    recipe = base.for_images(requested.teacher_recipe(asked), data.image_shape)
    recipe = requested.trained_as_asked(recipe, asked)
    where = {"data": data, "workdir": asked.workdir}
    return teacher.run(recipe, **where, only_plan=asked.plan)


def run_ensemble(asked: argparse.Namespace) -> dict[str, Any]:
    """ensemble: the mean of the members' logits or probabilities."""
    from kerasdistill.experiments import ensemble, selection

    if asked.select == "all" and asked.size is not None:
        raise UserError("--select all keeps every teacher; leave out --size")
    teachers = asked.teacher
    if asked.from_search is not None:
        from kerasdistill.experiments.search import families

        teachers = families.teachers_found(asked.from_search)
    data = interpret.data(asked)
    return ensemble.run(
        interpret.adapted_teachers(asked, teachers, data),
        data=data,
        workdir=asked.workdir,
        select=asked.select,
        size=asked.size or selection.PAPER_SIZE,
        averaging=asked.averaging,
        force=asked.force,
        only_plan=asked.plan,
    )


def run_precompute(asked: argparse.Namespace) -> dict[str, Any]:
    """precompute: label augmented passes."""
    from kerasdistill.experiments import precompute
    from pipelines.beam.runners import beam_options, pipeline_options

    options = beam_options(asked.beam_arguments, own_options=asked.own_options)
    options += asked.beam_unchecked
    pipeline_options(options)  # a cluster that is not there is told before any reading
    passes = interpret.passes_of(asked)
    how = {
        "workers": asked.workers,
        "beam_options": options,
        "force": asked.force,
        "command": interpret.command(),
        "only_plan": asked.plan,
    }
    if asked.extend:
        if asked.store or asked.logits_dtype or asked.keep_members:
            raise UserError(
                "--extend goes on with the set's own store, dtype and members; leave "
                "out --store, --logits-dtype and --keep-members"
            )
        data = interpret.data(asked, set_path=asked.extend)
        return precompute.extend(
            asked.extend,
            interpret.adapted_teachers(asked, asked.teacher, data),
            data=data,
            passes=asked.passes,
            **how,
        )
    data = interpret.data(asked)
    signal = precompute.Signal(
        store=asked.store or "images",
        keep_members=asked.keep_members,
        logits_dtype=asked.logits_dtype or "float32",
        seed=asked.seed,
    )
    return precompute.run(
        interpret.adapted_teachers(asked, asked.teacher, data),
        data=data,
        workdir=asked.workdir,
        passes=passes,
        signal=base.for_images(signal, data.image_shape),
        output=asked.output,
        **how,
    )


def run_verify(asked: argparse.Namespace) -> dict[str, Any]:
    """verify: checksums, and a sample scored again."""
    from kerasdistill.experiments import verify

    return verify.run(
        asked.path,
        teacher_paths=asked.teacher,
        data=interpret.data(asked, set_path=asked.path),
        workdir=asked.workdir,
        sample=asked.sample,
        seed=asked.seed,
        only_plan=asked.plan,
    )


def run_student(asked: argparse.Namespace) -> dict[str, Any]:
    """student: from a set, from teachers, or from nothing."""
    from kerasdistill.experiments import chain, student

    if searching.asked_for(asked):
        return searching.run_student(asked)
    interpret.check_signal(asked)
    make = requested.student_maker(asked, urban2017.student)
    data = interpret.data(asked, set_path=asked.distillation_set)
    recipe = requested.trained_as_asked(make(data), asked)
    how = {"data": data, "workdir": asked.workdir, "only_plan": asked.plan}
    if asked.distillation_set:
        return student.run(recipe, **how, **interpret.set_options(asked))
    return chain.run(
        interpret.chain_of(asked, recipe, data),
        **how,
        force=asked.force,
        command=interpret.command(),
    )


def run_baseline(asked: argparse.Namespace) -> dict[str, Any]:
    """baseline: a student's architecture on hard labels."""
    from kerasdistill.experiments import baseline

    if searching.asked_for(asked):
        return searching.run_baseline(asked)
    make = requested.student_maker(asked, urban2017.baseline)
    data = interpret.data(asked)
    recipe = requested.trained_as_asked(make(data), asked)
    where = {"data": data, "workdir": asked.workdir}
    return baseline.run(recipe, **where, only_plan=asked.plan)


def run_evaluate(asked: argparse.Namespace) -> dict[str, Any]:
    """evaluate: accuracy, or perplexity, of a model file or SavedModel on a split."""
    from kerasdistill.experiments import answers

    card = cards.read_card(asked.path)
    if card is not None and card.get("kind") == cards.LANGUAGE_MODEL:
        return language.evaluate(asked)
    data = interpret.data(asked)
    examples = data.split(asked.split)
    logits = answers.logits_of(asked.path, examples.images, data)
    return {
        "accuracy": evaluation.accuracy(logits, examples.labels),
        "num_examples": len(examples),
        "split": asked.split,
    }


def run_export(asked: argparse.Namespace) -> dict[str, Any]:
    """export: saved_models/NAME."""
    from kerasdistill.experiments import exporting

    name = asked.name or Path(asked.path).resolve().parent.name
    target = Path("saved_models") / name
    if Path(name).name != name or name == ".." or target.is_file():
        raise UserError(f"--name {name!r} is a path or a file; give a folder's name")
    # A bad model is told before any data is read.
    card = interpret.require_images(asked.path, instead="its run has a saved_model")
    model = loading.load(asked.path)
    if asked.distillation_set:
        data = interpret.data_of_set(asked, asked.distillation_set)
    else:
        told = {**card, "image_shape": model.input_shape[1:]}
        data = interpret.data_of(asked, told)
    return exporting.run(
        model,
        path=asked.path,
        target=target,
        formats_asked=EXPORT_FORMATS
        if asked.all
        else tuple(dict.fromkeys(asked.format)),
        workdir=asked.workdir,
        data=data,
        distillation_set_path=asked.distillation_set,
        fold_bottleneck=asked.fold_bottleneck,
        seed=asked.seed,
    )


def run_reproduce(asked: argparse.Namespace) -> dict[str, Any]:
    """reproduce: the command lines that a table needs, one by one."""
    return reproducing.run_reproduce(asked, commands=COMMANDS)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "teacher": run_teacher,
    "ensemble": run_ensemble,
    "precompute": run_precompute,
    "verify": run_verify,
    "student": run_student,
    "baseline": run_baseline,
    "born-again": born_again_verb.run,
    "language-model": language.run,
    "evaluate": run_evaluate,
    "export": run_export,
    "inspect": inspecting.run_inspect,
    "reproduce": run_reproduce,
}
