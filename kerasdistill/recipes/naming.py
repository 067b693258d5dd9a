"""Names that people read: of runs in lists, in reports and in TensorBoard."""

import re
from typing import Any

from kerasdistill.recipes.describing import describe_json
from kerasdistill.recipes.older import training_of

_PLAIN_LOSSES = ("logit-regression", "hard-label")  # what the run's kind implies


def name_of(
    kind: str,
    recipe: Any,
    *,
    num_params: int | None = None,
    seed: int | str | None = None,
) -> str:
    """Such as "student-1M-3conv-s0" or "generation-1-79k-wide-resnet-10-1-ban-s0".

    What a damaged recipe does not say is left out.

    Args:
        kind: of the run, with which the name begins.
        recipe: what `base.to_json` made of one.
        num_params: of the model.
        seed: instead of the recipe's; "" for none.
    """
    try:
        training = training_of(recipe)
    except (TypeError, ValueError, KeyError, AttributeError):
        training = {}
    loss, seed = training.get("loss"), training.get("seed") if seed is None else seed
    parts = [kind, "" if num_params is None else rounded(num_params), _shape(recipe)]
    parts += ["" if loss in (None, *_PLAIN_LOSSES) else str(loss)]
    parts += ["" if seed in (None, "") else f"s{seed}"]
    return fit_for_a_folder("-".join(filter(None, parts)))


def fit_for_a_folder(name: str) -> str:
    """The name without what a folder's should not have."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"


def rounded(count: int) -> str:
    """A count in as few digits as are within 1 % of it, three at most: 1,000,376 is
    "1M", 250,982 "250k" and 31,600,000 "31.6M"."""
    for digits in (1, 2, 3):
        near = float(f"{count:.{digits - 1}e}")
        if abs(near - count) <= 0.01 * count:
            break
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if near >= size:
            return f"{near / size:.3g}{unit}"
    return f"{near:.3g}"


def _shape(recipe: Any) -> str:
    """Such as "3conv", "2hidden", "fast" or "wide-resnet-28-10"."""
    try:
        kind, network = recipe["kind"], recipe["architecture"]
        if kind == "FastTeacherRecipe":
            return "fast"
        if kind == "StudentRecipe":
            convs, hidden = len(network["filters"]), len(network["hidden"])
            return f"{convs}conv" if convs else f"{hidden}hidden"
    except (TypeError, KeyError):
        return ""
    return (describe_json(recipe) or "").removesuffix(".keras")
