"""A teacher: hard labels, views made on the fly (fact sheet A4)."""

from pathlib import Path
from typing import Any

from kerasdistill.experiments import training
from kerasdistill.models import cnn_teacher
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from pipelines import live_views
from pipelines.datasets import ImageData


def run(
    recipe: base.TeacherRecipe, *, data: ImageData, workdir: str | Path
) -> dict[str, Any]:
    """Trains the teacher, or finishes or finds the run that did.

    Returns:
        The content of `results.json`.
    """
    request = {"recipe": base.to_json(recipe), "dataset": data.identity()}
    with RunDirectory.open(workdir, "teacher", request) as folder:
        if (found := folder.results()) is not None:
            return found
        stream = live_views.stream(
            data.train,
            augmentation=recipe.augmentation,
            seed=derive_seed(recipe.training.seed, "teacher views"),
            batch_size=recipe.training.batch_size,
        )
        model, fitted = training.train(
            cnn_teacher.build, recipe, stream=stream, data=data, run=folder
        )
        results = training.publish(
            model, fitted, recipe, kind="teacher", data=data, run=folder
        )
        return folder.finish(results)
