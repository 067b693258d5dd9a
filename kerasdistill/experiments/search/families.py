"""The searches for students, baselines and teachers: what each trains on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import precompute, student, teacher
from kerasdistill.experiments.search import trials
from kerasdistill.experiments.search.definition import Search
from kerasdistill.experiments.search.story import Story
from kerasdistill.recipes import base
from kerasdistill.running import training
from kerasdistill.running.steps import Results, Step
from kerasdistill.running.training import Material
from kerasdistill.runs import read_json
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from tuners import record


def on_set(
    search: Search,
    *,
    data: ImageData,
    workdir: str | Path,
    before: Sequence[Step] = (),
    given: str | None = None,
    store: str | None = None,
    **options: Any,
) -> Story:
    """A search among students of one family and budget on a distillation set.

    The set is opened and checked once; every trial sees the same views in the same
    order. Where passes are kept in memory, all trials but the first find them there.

    The set is `given`, or made by the steps `before`, the last of them
    `precompute.STEP`, and then keeps views as `store`. Options are those of
    `student.run`.
    """
    middle = search.middle
    reader = student.SetReader(data, workdir, middle.augmentation, **options)
    how = {"data": data, "workdir": workdir}

    def set_path(done: Results) -> str:
        return given or done[precompute.STEP]["distillation_set"]

    def identity(done: Results) -> dict[str, Any]:
        of_set = reader.identity(reader.described(set_path(done)))
        return {"distillation_set": of_set}

    def material(done: Results) -> Material:
        path, trainings = set_path(done), search.max_trials
        whole = reader.material(path, middle.training, trainings=trainings)
        stream = _cut(whole.stream(middle), search)
        return replace(whole, stream=lambda recipe: stream)

    def retrain(recipe: base.Recipe, done: Results) -> dict[str, Any]:
        path = set_path(done)
        return student.run(recipe, distillation_set_path=path, **how, **options)

    kept = store or reader.described(set_path({})).manifest.store
    like = partial(student.like_stored, data=data, store=kept)
    return Story(
        search, data, workdir, material, like, retrain, identity, tuple(before)
    )


def on_labels(search: Search, *, data: ImageData, workdir: str | Path) -> Story:
    """A search among baselines or teachers, on views made on the fly."""

    def stream(recipe: base.Recipe) -> EpochStream:
        made = training.labelled_stream(recipe, kind=search.kind, data=data)
        return _cut(made, search)

    def material(done: Results) -> Material:
        return Material(stream)

    def retrain(recipe: base.Recipe, done: Results) -> dict[str, Any]:
        return teacher.run(recipe, data=data, workdir=workdir)

    return Story(search, data, workdir, material, stream, retrain)


def teachers_found(path: str | Path) -> list[str]:
    """The model files of a teacher search's trials, in the order they began.

    Raises:
        UserError: the folder is no teacher search's, or holds no model yet.
    """
    folder = Path(path)
    recipe = folder / "recipe.json"
    request = read_json(recipe) if recipe.exists() else {}
    kind = request.get("recipe", {}).get("kind")
    if "space" not in request or kind != base.TeacherRecipe.__name__:
        raise UserError(
            f"{path} is no folder of a search for teachers; pass the one that "
            "a search (`max_trials=N`) names"
        )
    models = [
        str(trial["folder"] / "model.keras")
        for trial in record.trials(folder)
        if trial["status"] == "COMPLETED"
    ]
    if not models:
        raise UserError(f"{path} has no finished trial yet; run its search first")
    return models


def _cut(stream: EpochStream, search: Search) -> EpochStream:
    """The part of each epoch that trials see."""
    if search.objective_views is None:
        return stream
    settings = search.middle.training
    # Without a number of epochs the search is refused before this is read.
    how = {"batch_size": settings.batch_size, "epochs": settings.epochs or 1}
    return trials.shortened(stream, views=search.objective_views, **how)
