"""A teacher: hard labels, views made on the fly (fact sheet A4)."""

from pathlib import Path
from typing import Any

from kerasdistill.recipes import base
from kerasdistill.running import steps, training
from pipelines.datasets import ImageData

KIND = "teacher"


def step(
    recipe: base.AnyTeacherRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    name: str = KIND,
) -> steps.Step:
    """The step that trains the teacher."""
    mirrored = isinstance(recipe, base.FastTeacherRecipe)
    how = {"data": data, "workdir": workdir, "mirrored": mirrored}
    return training.on_labels(recipe, kind=KIND, name=name, **how)


def run(
    recipe: base.AnyTeacherRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains the teacher, or finishes or finds the run that did.

    Returns:
        The content of `results.json`. A fast teacher's has `val_accuracy_mirrored`
        and `test_accuracy_mirrored` too: of the mean of the logits of an image and
        its mirror image.
    """
    story = [step(recipe, data=data, workdir=workdir)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[KIND]
