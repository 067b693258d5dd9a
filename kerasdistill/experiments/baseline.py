"""A student's architecture on hard labels (fact sheet A5, right column; Table 1)."""

from pathlib import Path
from typing import Any

from kerasdistill.experiments import training
from kerasdistill.recipes import base
from pipelines.datasets import ImageData


def run(
    recipe: base.StudentRecipe, *, data: ImageData, workdir: str | Path
) -> dict[str, Any]:
    """Trains the hard-label twin, or finishes or finds the run that did.

    Returns:
        The content of `results.json`; it has no teacher, so no agreement.
    """
    return training.on_hard_labels(recipe, kind="baseline", data=data, workdir=workdir)
