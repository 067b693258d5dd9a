"""Numbers that no model or training can have."""

import dataclasses
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.objectives import TEXTS

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def check(recipe: Any) -> None:
    """UserError naming what is impossible in a recipe (`base.Recipe`)."""
    training, architecture = recipe.training, recipe.architecture
    positive = [training.learning_rate, training.batch_size]
    positive += [value for value in (training.epochs, training.clip_norm) if value]
    rates = getattr(architecture, "dropout_rates", ())
    rates += (getattr(architecture, "dropout_rate", 0.0),)
    sizes = _whole(dataclasses.asdict(architecture))
    problems = {
        "a window below 1": getattr(training, "window", 1) < 1,
        "a width, kernel or pool below 1": min(sizes, default=1) < 1,
        "a learning rate or batch size that is not above 0": (
            min(positive) <= 0 or training.epochs == 0 or training.clip_norm == 0
        ),
        "a dropout rate outside 0 to 1": not all(0 <= rate < 1 for rate in rates),
        f"objective {training.loss!r}, which no language model learns by": (
            hasattr(training, "window") and training.loss not in TEXTS
        ),
        f"precision {training.precision!r}": training.precision not in PRECISIONS,
    }
    for problem, present in problems.items():
        if present:
            raise UserError(f"the recipe has {problem}; correct it")


def _whole(value: Any) -> list[int]:
    """The whole numbers in nested plain values: of an architecture, its sizes."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for item in value for number in _whole(item)]
    return [value] if type(value) is int else []
