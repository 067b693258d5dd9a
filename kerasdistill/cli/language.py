"""Verbs on language models: from parsed arguments to results."""

import argparse
from dataclasses import replace
from typing import Any

from kerasdistill.cli import objective_options, requested
from kerasdistill.errors import UserError
from kerasdistill.objectives import BanWithLabels
from kerasdistill.recipes import base, ptb
from kerasdistill.training import engines
from pipelines.words import text


def run(args: argparse.Namespace) -> dict[str, Any]:
    """language-model: train one, or generations of them; go on from a text."""
    from kerasdistill.experiments.language import generations, model, sample

    objective_options.chosen(args, BanWithLabels())
    if args.precision == "mixed_float16":
        raise UserError(
            "language models train in float32 or mixed_bfloat16; leave out --precision"
        )
    taught = args.born_again or args.teacher
    describe, train = (lineage, generations.run) if taught else (_recipe, model.run)
    wanted, data = describe(args), text.load(args.data_dir, quick=args.quick)
    results = train(wanted, data=data, workdir=args.workdir, only_plan=args.plan)
    if args.sample is not None:
        how = {"words": args.words or 40, "seed": args.seed}
        results["sample"] = sample.go_on(results["model"], args.sample, **how)
    return results


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """evaluate: perplexity of a model file or SavedModel on a split."""
    from kerasdistill.experiments.language import model

    data = text.load(args.data_dir, quick=args.quick)
    return model.evaluate(args.path, data=data, split=args.split)


def lineage(args: argparse.Namespace) -> Any:
    """The generations that a command line describes."""
    from kerasdistill.experiments.language import generations, signal

    recipe = _recipe(args)
    if args.teacher and (args.arch, args.size, args.layers) == (None, None, None):
        recipe = generations.in_the_teachers_form(recipe, args.teacher[0])
    return generations.Lineage(
        recipe=recipe,
        generations=args.generations or 1,
        objective=objective_options.chosen(args, BanWithLabels()),
        teachers=tuple(args.teacher or ()),
        stored=args.teacher_signal == "stored",
        top_k=args.store_top_k or signal.TOP_K,
        signal_path=args.distillation_set,
    )


def _recipe(args: argparse.Namespace) -> base.LanguageModelRecipe:
    size = args.size or "paper"
    recipe = ptb.language_model(args.arch or "lstm", size=size, layers=args.layers)
    if args.quick:
        recipe = ptb.quick(recipe)
    if args.dropout is not None:
        network = replace(recipe.architecture, dropout_rate=args.dropout)
        recipe = replace(recipe, architecture=network)
    names = ("window", "epochs", "batch_size", "learning_rate", "clip_norm")
    training = replace(
        recipe.training,
        precision=engines.current().resolve_precision(args.precision),
        seed=args.seed,
        **requested.options_of(args, *names),
    )
    return replace(recipe, training=training)
