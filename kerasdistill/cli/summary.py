"""The verb summary: a network's layers and parameters, by arithmetic."""

import argparse
from typing import Any

from kerasdistill.cli import language_options
from kerasdistill.errors import UserError


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """summary: layers and trainable parameters."""
    from kerasdistill.cli import arguments, requested
    from kerasdistill.recipes import base, layers, ptb, urban2017

    _check(asked)
    shape, notes = arguments.image_shape(asked), []
    sizes: dict[str, Any] = {"image_shape": shape, "num_classes": asked.classes}
    if asked.arch in language_options.ARCHITECTURES:
        recipe = ptb.language_model(asked.arch, size=asked.size, layers=asked.layers)
        notes = ptb.notes(asked.arch, size=asked.size)
        sizes = {"num_words": asked.vocabulary}
    elif asked.arch is not None:
        recipe, notes = requested.born_again_recipe(asked)
    elif asked.what == "teacher":
        recipe = requested.teacher_recipe(asked)
    else:
        widths = {"convs": asked.convs, "hidden": asked.hidden, "kernel": asked.kernel}
        recipe = urban2017.student(budget=requested.budget_of(asked), **widths, **sizes)
    rows = layers.table(recipe.architecture, **sizes)
    return {
        "num_params": layers.num_params(rows),
        "layers": rows,
        "recipe": base.to_json(recipe),
        "notes": notes,
    }


def _check(asked: argparse.Namespace) -> None:
    if (asked.what is None) == (asked.arch is None):
        raise UserError("summary needs one of teacher, student and --arch NAME")
    if asked.fast and asked.what != "teacher":
        raise UserError("--fast is a teacher's; write summary teacher --fast")
    if asked.arch is None and (asked.depth_factor or asked.compression_factor):
        raise UserError("--depth-factor and --compression-factor need --arch NAME")
    if (asked.arch in language_options.ARCHITECTURES) != (asked.vocabulary is not None):
        raise UserError("--vocabulary V belongs to --arch lstm and --arch cnn-lstm")
