"""The verbs: from parsed arguments to an experiment's results.

Experiments are imported by the verb that needs them, because Apache Beam alone takes
seconds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill import evaluation
from kerasdistill.cli import (
    belonging,
    born_again,
    flags,
    inspecting,
    interpret,
    language,
    reproducing,
    requested,
    searching,
)
from kerasdistill.cli.looking_options import EXPORT_FORMATS
from kerasdistill.errors import UserError
from kerasdistill.exports import cards, sharing
from kerasdistill.recipes import base


def run_on_labels(args: argparse.Namespace) -> dict[str, Any]:
    """teacher and baseline: train one on hard labels."""
    from kerasdistill.experiments import teacher

    if belonging.searches(args):
        return searching.run(args)
    make, older = requested.maker(args), requested.older_maker(args)
    data = interpret.data(args)
    how = {"data": data, "workdir": args.workdir, "only_plan": args.plan}
    return teacher.run(make(data), older=older(data), **how)


def run_ensemble(args: argparse.Namespace) -> dict[str, Any]:
    """ensemble: the mean of the members' logits or probabilities."""
    from kerasdistill.experiments import ensemble

    teachers = args.teacher
    if args.from_search is not None:
        from kerasdistill.experiments.search import families

        teachers = families.teachers_found(args.from_search)
    data = interpret.data(args)
    return ensemble.run(
        interpret.adapted_teachers(args, teachers, data),
        data=data,
        workdir=args.workdir,
        select=args.select,
        size=args.size or ensemble.PAPER_SIZE,
        averaging=args.averaging,
        force=args.force,
        only_plan=args.plan,
    )


def run_precompute(args: argparse.Namespace) -> dict[str, Any]:
    """precompute: label augmented passes."""
    from kerasdistill.experiments import precompute
    from pipelines.beam.runners import beam_options, pipeline_options

    options = beam_options(args.beam_arguments, own_options=args.own_options)
    options += args.beam_unchecked
    pipeline_options(options)  # refuses an absent cluster before anything is read
    data = interpret.data(args, set_path=args.extend)
    teachers = interpret.adapted_teachers(args, args.teacher, data)
    how = {
        "data": data,
        "workers": args.workers,
        "beam_options": options,
        "force": args.force,
        "command": interpret.command(),
        "only_plan": args.plan,
    }
    if args.extend:
        return precompute.extend(args.extend, teachers, passes=args.passes, **how)
    signal = precompute.Signal(
        store=args.store or "images",
        keep_members=args.keep_members,
        logits_dtype=args.logits_dtype or "float32",
        seed=args.seed,
    )
    return precompute.run(
        teachers,
        workdir=args.workdir,
        passes=interpret.passes_of(args),
        signal=base.for_images(signal, data.image_shape),
        output=args.output,
        **how,
    )


def run_verify(args: argparse.Namespace) -> dict[str, Any]:
    """verify: checksums, and a sample scored again."""
    from kerasdistill.experiments import verify

    data, teachers = interpret.data(args, set_path=args.path), args.teacher
    if teachers is not None:
        teachers = interpret.adapted_teachers(args, teachers, data)
    return verify.run(
        args.path,
        teacher_paths=teachers,
        data=data,
        workdir=args.workdir,
        sample=args.sample,
        seed=args.seed,
        only_plan=args.plan,
    )


def run_student(args: argparse.Namespace) -> dict[str, Any]:
    """student: from a set, from teachers, or from nothing."""
    from kerasdistill.experiments import chain, student

    if belonging.searches(args):
        return searching.run(args)
    interpret.check_resident(args)
    make, older = requested.maker(args), requested.older_maker(args)
    data = interpret.data(args, set_path=args.distillation_set)
    how = {"data": data, "workdir": args.workdir, "only_plan": args.plan}
    if given := args.distillation_set:
        how |= {"distillation_set_path": given, **interpret.set_options(args)}
        return student.run(make(data), older=older(data), **how)
    before = {"older_student": older(data)}
    wanted = interpret.chain_of(args, make(data), data, **before)
    command = interpret.command()
    return chain.run(wanted, **how, force=args.force, command=command)


def run_evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """evaluate: accuracy, or perplexity, of a model on a split of its data set."""
    from kerasdistill.experiments import inspection

    card = cards.read_card(args.path) or {}
    if card.get("kind") == cards.LANGUAGE_MODEL:
        return language.evaluate(args)
    data = interpret.data_of_model(args, args.path, card)
    examples = data.split(args.split)
    how = {"data": data, "brought": interpret.brought(args)}
    logits = inspection.logits_of(args.path, examples.images, **how)
    return {
        "accuracy": evaluation.accuracy(logits, examples.labels),
        "num_examples": len(examples),
        "split": args.split,
    }


def run_export(args: argparse.Namespace) -> dict[str, Any]:
    """export: saved_models/NAME."""
    from kerasdistill.experiments import exporting

    name = args.name or Path(args.path).resolve().parent.name
    target = Path("saved_models") / name
    if Path(name).name != name or name == ".." or target.is_file():
        raise UserError(f"--name {name!r} is a path or a file; give a folder's name")
    if args.to is not None:
        sharing.require(args.to)
    # A bad model is refused before any data is read.
    card = interpret.require_images(args.path, instead="its run has a saved_model")
    if args.distillation_set:
        data = interpret.data_of_set(args, args.distillation_set)
    else:
        data = interpret.data_of_model(args, args.path, card)
    made = exporting.run(
        args.path,
        brought=interpret.brought(args),
        target=target,
        formats_asked=EXPORT_FORMATS if args.all else tuple(dict.fromkeys(args.format)),
        workdir=args.workdir,
        data=data,
        distillation_set_path=args.distillation_set,
        fold_bottleneck=args.fold_bottleneck,
        seed=args.seed,
    )
    refused = {name: flags.named(why) for name, why in made["refused"].items()}
    if args.to is None:
        return {**made, "refused": refused}
    sharing.put(target, args.to)
    return {**made, "refused": refused, "shared": args.to}


def run_reproduce(args: argparse.Namespace) -> dict[str, Any]:
    """reproduce: a table's lines are commands themselves."""
    return reproducing.run_reproduce(args, run=lambda line: COMMANDS[line.verb](line))


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "teacher": run_on_labels,
    "ensemble": run_ensemble,
    "precompute": run_precompute,
    "verify": run_verify,
    "student": run_student,
    "baseline": run_on_labels,
    "born-again": born_again.run,
    "language-model": language.run,
    "evaluate": run_evaluate,
    "export": run_export,
    "inspect": inspecting.run_inspect,
    "reproduce": run_reproduce,
}
