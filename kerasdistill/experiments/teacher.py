"""A teacher or a baseline: hard labels, views made on the fly.

The ranges and the networks of Table 1: docs/papers/urban2017.md.
"""

from pathlib import Path
from typing import Any

from kerasdistill.recipes import base
from kerasdistill.running import steps, training
from pipelines.datasets import ImageData

KIND = "teacher"
BASELINE = "baseline"


def run(
    recipe: base.AnyTeacherRecipe | base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    older: base.StudentRecipe | None = None,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains the teacher, or with a student's recipe the baseline; finds finished runs.

    With `older`, what an older rule made of the same request, goes on with or finds
    that one's run if there is none of the recipe's own.

    Returns:
        The content of `results.json`. A fast teacher's has `val_accuracy_mirrored`
        and `test_accuracy_mirrored` too: of the mean of the logits of an image and
        its mirror image.
    """
    kind = BASELINE if isinstance(recipe, base.StudentRecipe) else KIND
    how = {"kind": kind, "data": data, "workdir": workdir, "older": older}
    story = [training.on_labels(recipe, **how)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[kind]
