"""The searches for students, baselines and teachers: what each trains on."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import baseline, precompute, student, teacher
from kerasdistill.experiments.search import story as search
from kerasdistill.experiments.search import trials
from kerasdistill.experiments.search.definition import TEACHER, Search
from kerasdistill.experiments.search.story import Material, Story
from kerasdistill.recipes import base
from kerasdistill.running import memory, opening, timing, training
from kerasdistill.running.steps import Results, Step
from kerasdistill.runs import read_json
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored.layout import AVERAGING
from pipelines.views import augment
from tuners import record


def on_set(
    asked: Search,
    *,
    data: ImageData,
    workdir: str | Path,
    before: Sequence[Step] = (),
    given: str | None = None,
    store: str | None = None,
    passes: int | None = None,
    members: Sequence[int] | None = None,
    averaging: str = AVERAGING,
    resident: str = "auto",
) -> Story:
    """A search among students of one family and budget on a distillation set.

    The set is opened and checked once; every trial sees the same views in the same
    order.

    Args:
        asked: the search.
        data: as for `student.step`, like workdir and what follows store.
        before: the steps that make the set, the last of them `precompute.STEP`; or
        given: a finished set.
        store: how the set that is made keeps views.
    """
    signal = {"members": members, "averaging": averaging}
    expect = {"augmentation": augment.to_json(asked.middle.augmentation)}

    def set_path(done: Results) -> str:
        return given or done[precompute.STEP]["distillation_set"]

    def described(done: Results) -> DistillationSet:
        how = {"data": data, "expect": expect}
        return opening.described(set_path(done), **how, **signal)

    def identity(done: Results) -> dict[str, Any]:
        stored = described(done)
        of_set = student.passes_asked(stored, passes or stored.manifest.passes)
        return {"distillation_set": of_set}

    def material(done: Results) -> Material:
        how = {"data": data, "workdir": workdir, "expect": expect}
        stored = opening.opened(set_path(done), **how, **signal)
        wanted = passes or stored.manifest.passes
        stream = _stored_stream(asked, stored, passes=wanted, resident=resident)
        of_set = student.passes_asked(stored, wanted)
        origin = student.origin_of(
            stored, set_path(done), members=members, asked=of_set
        )
        return Material(
            stream=lambda recipe: stream,
            teacher_logits=stored.validation_logits(),
            facts={"distillation_set": origin},
            reading=stored.reading,
        )

    def retrain(recipe: base.Recipe, done: Results) -> dict[str, Any]:
        how = {"passes": passes, "resident": resident, **signal}
        how |= {"data": data, "workdir": workdir}
        return student.run(recipe, distillation_set_path=set_path(done), **how)

    kept = store or described({}).manifest.store
    last = search.step(
        asked,
        data=data,
        workdir=workdir,
        material=material,
        like=partial(student.like_stored, data=data, store=kept),
        identity=identity,
        needs=(precompute.STEP,) if before else (),
    )
    return Story(asked, data, workdir, (*before, last), material, retrain)


def on_labels(asked: Search, *, data: ImageData, workdir: str | Path) -> Story:
    """A search among baselines or teachers, on views made on the fly."""
    trainings: dict[str, Callable] = {"baseline": baseline.run, TEACHER: teacher.run}
    train = trainings[asked.kind]

    def stream(recipe: base.Recipe) -> EpochStream:
        made = training.labelled_stream(recipe, kind=asked.kind, data=data)
        return _cut(made, asked)

    def material(done: Results) -> Material:
        return Material(stream)

    def retrain(recipe: base.Recipe, done: Results) -> dict[str, Any]:
        return train(recipe, data=data, workdir=workdir)

    how = {"data": data, "workdir": workdir, "material": material}
    last = search.step(asked, like=stream, **how)
    return Story(asked, data, workdir, (last,), material, retrain)


def teachers_found(path: str | Path) -> list[str]:
    """The model files of a teacher search's trials, in the order they began.

    Raises:
        UserError: the folder is no teacher search's, or holds no model yet.
    """
    folder = Path(path)
    told = folder / "recipe.json"
    request = read_json(told) if told.exists() else {}
    kind = request.get("recipe", {}).get("kind")
    if "space" not in request or kind != base.TeacherRecipe.__name__:
        raise UserError(
            f"{path} is no folder of a search for teachers; pass the one that "
            "`teacher --trials N` names"
        )
    models = [
        str(trial["folder"] / "model.keras")
        for trial in record.trials(folder)
        if trial["status"] == "COMPLETED"
    ]
    if not models:
        raise UserError(f"{path} has no finished trial yet; run its search first")
    return models


def _stored_stream(
    asked: Search, stored: DistillationSet, *, passes: int, resident: str
) -> EpochStream:
    """Where passes are kept in memory, all trials but the first find them there."""
    settings = asked.middle.training
    in_all = asked.max_trials * (settings.epochs or timing.ASSUMED_EPOCHS)
    held = memory.choose(stored, asked=resident, passes=passes, epochs=in_all)
    print(held.because, file=sys.stderr)
    made = student.stored_stream(
        stored,
        batch_size=settings.batch_size,
        passes=passes,
        in_memory=held.in_memory,
        keep=held.keep,
    )
    return _cut(made, asked)


def _cut(stream: EpochStream, asked: Search) -> EpochStream:
    if asked.objective_views is None:
        return stream
    settings = asked.middle.training
    return trials.shortened(
        stream,
        views=asked.objective_views,
        batch_size=settings.batch_size,
        # Without a number of epochs the search is refused before this is read.
        epochs=settings.epochs or 1,
    )
