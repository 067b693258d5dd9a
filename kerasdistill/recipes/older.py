"""Recipes as older versions wrote them, into today's words and back.

Until a loss was a value, `training` held its name and the settings of every loss.
"""

from collections.abc import Mapping
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.objectives import OBJECTIVES, settings

# With the values they had where the loss was another one.
EVERY: dict[str, Any] = {"temperature": 1.0, "alpha": 1.0, "label_smoothing": 0.0}
WEIGHTS: dict[str, Any] = {"label_weight": 1.0, "teacher_weight": 1.0}
PERMUTATION: dict[str, Any] = {"permutation": "fresh"}


def patched(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a recipe in today's words; UserError on an unknown loss."""
    training = recipe.get("training")
    if not isinstance(training, Mapping) or "loss" not in training:
        return dict(recipe)
    name = training["loss"]
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise UserError(
            f"recipe field {recipe.get('kind')}.training.loss is {name!r}, expected "
            f"one of {', '.join(map(repr, OBJECTIVES))}"
        )
    flat = {"loss", "objective", *EVERY, *WEIGHTS, *PERMUTATION}
    rest = {key: value for key, value in training.items() if key not in flat}
    own = {key: training[key] for key in settings(OBJECTIVES[name]) if key in training}
    return {**recipe, "training": {**rest, "objective": {"name": name, **own}}}


def flat(fields: Mapping[str, Any], unused: Mapping[str, Any]) -> dict[str, Any]:
    """A training's JSON fields in the older words; `unused` are the settings of all
    losses, with the values they had where the loss was another one."""
    rest = {key: value for key, value in fields.items() if key != "objective"}
    own = dict(fields["objective"])
    return {**rest, "loss": own.pop("name"), **unused, **own}


def width_rule_of(recipe: Any) -> str | None:
    """How a student's widths were chosen, of its JSON; None of any other recipe."""
    if not isinstance(recipe, Mapping) or recipe.get("kind") != "StudentRecipe":
        return None
    return recipe.get("architecture", {}).get("width_rule", "exact")


def training_of(
    recipe: Mapping[str, Any], *, loss: str | None = None
) -> dict[str, Any]:
    """A recipe's training for reports: its fields and those of its loss, whose name is
    "loss", whichever version wrote it.

    With `loss`, that of a generation which learnt by another one, without settings.
    """
    training = dict(recipe["training"]) if "training" in recipe else {}
    if training.get("loss") in OBJECTIVES:
        training = patched(recipe)["training"]
    objective = dict(training.pop("objective", {}))
    if loss not in (None, objective.get("name")):
        objective = {"name": loss}
    if "name" in objective:
        training["loss"] = objective.pop("name")
    return {**training, **objective}
