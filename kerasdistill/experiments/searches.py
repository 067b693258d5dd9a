"""The searches for students, baselines and teachers: what each trains on."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import (
    baseline,
    costs,
    plans,
    residence,
    search,
    student,
    teacher,
    training,
    trials,
)
from kerasdistill.experiments.asking import TEACHER, Search
from kerasdistill.experiments.opening import opened
from kerasdistill.recipes import base
from kerasdistill.runs import read_json
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.layout import AVERAGING
from tuners import record


def on_set(
    asked: Search,
    *,
    data: ImageData,
    workdir: str | Path,
    distillation_set_path: str | Path,
    passes: int | None = None,
    members: Sequence[int] | None = None,
    averaging: str = AVERAGING,
    resident: str = "auto",
    steps_before: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Searches among students of one family and budget on a distillation set.

    The set is opened and checked once; every trial sees the same views in the same
    order. Arguments as for `student.run`, results as `search.run` says.
    """
    signal = {"members": members, "averaging": averaging}
    stored = opened(
        distillation_set_path,
        data=data,
        workdir=workdir,
        expect={"augmentation": base.fields(asked.middle.augmentation)},
        **signal,
    )
    passes = stored.manifest.passes if passes is None else passes
    of_set = student.passes_asked(stored, passes)
    origin = student.origin_of(
        stored, distillation_set_path, members=members, asked=of_set
    )
    stream = _stored_stream(asked, stored, passes=passes, resident=resident)
    retrain = partial(
        student.run,
        data=data,
        workdir=workdir,
        distillation_set_path=distillation_set_path,
        passes=passes,
        resident=resident,
        **signal,
    )
    with stored.reading():
        results = search.run(
            asked,
            data=data,
            stream=lambda recipe: stream,
            retrain=retrain,
            workdir=workdir,
            request={"distillation_set": of_set},
            teacher_logits=stored.validation_logits(),
            facts={"distillation_set": origin},
            # One that is held in memory can't be timed apart from its training.
            timed=student.stored_stream(
                stored, batch_size=asked.middle.training.batch_size, passes=passes
            ),
        )
    if asked.worker is not None:
        return results
    steps = [*steps_before, plans.kept(f"search for a {student.KIND}", results)]
    return {**results, "plan": steps}


def on_labels(asked: Search, *, data: ImageData, workdir: str | Path) -> dict[str, Any]:
    """Searches among baselines or teachers, on views made on the fly."""
    trainings: dict[str, Callable] = {"baseline": baseline.run, TEACHER: teacher.run}
    train = trainings[asked.kind]

    def stream(recipe: base.Recipe) -> EpochStream:
        made = training.labelled_stream(recipe, kind=asked.kind, data=data)
        return _cut(made, asked)

    return search.run(
        asked,
        data=data,
        stream=stream,
        retrain=lambda recipe: train(recipe, data=data, workdir=workdir),
        workdir=workdir,
    )


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
    in_all = asked.max_trials * (settings.epochs or costs.ASSUMED_EPOCHS)
    held = residence.choose(stored, asked=resident, passes=passes, epochs=in_all)
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
