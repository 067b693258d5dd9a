"""A student's architecture on hard labels (fact sheet A5, right column; Table 1)."""

from pathlib import Path
from typing import Any

from kerasdistill.recipes import base
from kerasdistill.running import steps, training
from pipelines.datasets import ImageData

KIND = "baseline"


def run(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains the hard-label twin, or finishes or finds the run that did.

    Returns:
        The content of `results.json`; it has no teacher, so no agreement.
    """
    story = [training.on_labels(recipe, kind=KIND, data=data, workdir=workdir)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[KIND]
