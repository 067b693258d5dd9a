"""A teacher: hard labels, views made on the fly (fact sheet A4)."""

from pathlib import Path
from typing import Any

from kerasdistill.experiments import plans, training
from kerasdistill.models import cnn_teacher
from kerasdistill.recipes import base
from pipelines.datasets import ImageData


def run(
    recipe: base.TeacherRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    planned: plans.Step | None = None,
) -> dict[str, Any]:
    """Trains the teacher, or finishes or finds the run that did.

    `planned` is what somebody has announced already (None: it is done here).

    Returns:
        The content of `results.json`.
    """
    return training.on_hard_labels(
        cnn_teacher.build,
        recipe,
        kind="teacher",
        data=data,
        workdir=workdir,
        planned=planned,
    )
