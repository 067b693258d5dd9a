"""Verbs on language models: from parsed arguments to results."""

import argparse
from dataclasses import replace
from typing import Any

from kerasdistill import devices
from kerasdistill.cli import objective_options
from kerasdistill.errors import UserError
from kerasdistill.objectives import BanWithLabels
from kerasdistill.recipes import base, ptb
from pipelines.words import text


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """language-model: train one, or generations of them; go on from a text."""
    from kerasdistill.experiments.language import (
        generations as language_generations,
    )
    from kerasdistill.experiments.language import (
        model as language_model,
    )
    from kerasdistill.experiments.language import (
        sample as language_sample,
    )

    _check(asked)
    how = {"workdir": asked.workdir, "only_plan": asked.plan}
    if not (asked.born_again or asked.teacher):
        recipe = _recipe(asked)
        data = text.load(asked.data_dir, quick=asked.quick)
        found = language_model.run(recipe, data=data, **how)
    else:
        made = lineage(asked)
        data = text.load(asked.data_dir, quick=asked.quick)
        found = language_generations.run(made, data=data, **how)
    if asked.sample is not None:
        words, seed = asked.words or 40, asked.seed
        found["sample"] = language_sample.go_on(
            found["model"], asked.sample, words=words, seed=seed
        )
    return found


def evaluate(asked: argparse.Namespace) -> dict[str, Any]:
    """evaluate: perplexity of a model file or SavedModel on a split."""
    from kerasdistill.experiments.language import model as language_model

    data = text.load(asked.data_dir, quick=asked.quick)
    return language_model.evaluate(asked.path, data=data, split=asked.split)


def _check(asked: argparse.Namespace) -> None:
    """Refuses what contradicts itself."""
    students = asked.born_again or asked.teacher
    for name in (
        "generations",
        "loss",
        "label_weight",
        "teacher_weight",
        "teacher_signal",
        "store_top_k",
        "distillation_set",
    ):
        if getattr(asked, name) is not None and not students:
            option = name.replace("_", "-")
            raise UserError(f"--{option} is of students; add --born-again")
    objective_options.chosen(asked, BanWithLabels())
    if asked.store_top_k is not None and asked.teacher_signal != "stored":
        raise UserError(
            "--store-top-k is of a stored signal; add --teacher-signal stored"
        )
    if asked.distillation_set is not None and asked.teacher is None:
        raise UserError(
            "--distillation-set is a stored signal of a teacher; name it with --teacher"
        )
    if asked.precision == "mixed_float16":
        raise UserError(
            "language models train in float32 or mixed_bfloat16; leave out --precision"
        )
    if asked.words is not None and asked.sample is None:
        raise UserError("--words counts the words after --sample TEXT; add it")


def lineage(asked: argparse.Namespace) -> Any:
    """The generations that a command line asks for."""
    from kerasdistill.experiments.language import (
        generations as language_generations,
    )
    from kerasdistill.experiments.language import (
        signal as language_signal,
    )

    recipe = _recipe(asked)
    if asked.teacher and (asked.arch, asked.size, asked.layers) == (None, None, None):
        recipe = language_generations.in_the_teachers_form(recipe, asked.teacher[0])
    return language_generations.Lineage(
        recipe=recipe,
        generations=asked.generations or 1,
        objective=objective_options.chosen(asked, BanWithLabels()),
        teachers=tuple(asked.teacher or ()),
        stored=asked.teacher_signal == "stored",
        top_k=asked.store_top_k or language_signal.TOP_K,
        signal_path=asked.distillation_set,
    )


def _recipe(asked: argparse.Namespace) -> base.LanguageModelRecipe:
    size = asked.size or "paper"
    recipe = ptb.language_model(asked.arch or "lstm", size=size, layers=asked.layers)
    if asked.quick:
        recipe = ptb.quick(recipe)
    if asked.dropout is not None:
        network = replace(recipe.architecture, dropout_rate=asked.dropout)
        recipe = replace(recipe, architecture=network)
    given = ("window", "epochs", "batch_size", "learning_rate", "clip_norm")
    changes = {name: getattr(asked, name) for name in given}
    training = replace(
        recipe.training,
        precision=devices.resolve_precision(asked.precision),
        seed=asked.seed,
        **{name: value for name, value in changes.items() if value is not None},
    )
    return replace(recipe, training=training)
