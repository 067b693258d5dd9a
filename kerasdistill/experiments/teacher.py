"""A teacher: hard labels, views made on the fly (fact sheet A4)."""

from pathlib import Path
from typing import Any

from kerasdistill.experiments import plans, training
from kerasdistill.recipes import base
from pipelines.datasets import ImageData


def run(
    recipe: base.AnyTeacherRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    planned: plans.Step | None = None,
) -> dict[str, Any]:
    """Trains the teacher, or finishes or finds the run that did.

    `planned` is what somebody has announced already (None: it is done here).

    Returns:
        The content of `results.json`. A fast teacher's has `val_accuracy_mirrored`
        and `test_accuracy_mirrored` too: of the mean of the logits of an image and
        its mirror image.
    """
    return training.on_hard_labels(
        recipe,
        kind="teacher",
        data=data,
        workdir=workdir,
        planned=planned,
        mirrored=isinstance(recipe, base.FastTeacherRecipe),
    )
