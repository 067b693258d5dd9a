"""From nothing to a student: teachers, super teacher, distillation set, student."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasdistill import devices
from kerasdistill.experiments import (
    costs,
    ensemble,
    plans,
    precompute,
    student,
    teacher,
    training,
)
from kerasdistill.experiments.shells import built
from kerasdistill.files import require_space
from kerasdistill.models import loading
from kerasdistill.models.build import published
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines import distillation_set, live_views, scoring
from pipelines.datasets import ImageData
from pipelines.integrity import read_manifest
from pipelines.layout import MANIFEST_NAME, Layout
from pipelines.remaining import missing_work


@dataclass(frozen=True)
class Chain:
    """What leads to a student; `teachers` are trained unless `teacher_paths` is set.

    With `search` the student is found by one, which plans for itself.
    """

    teachers: tuple[base.AnyTeacherRecipe, ...]
    teacher_paths: tuple[str, ...]
    student: base.StudentRecipe
    passes: int
    store: str = "images"
    seed: int = 0
    resident: str = "auto"
    search: bool = False


@dataclass(frozen=True)
class Prepared:
    """What lies before the student: results by step, and those told as `plans.kept`.

    `plan` is what was announced; the distillation set is in `path`.
    """

    path: str
    steps: dict[str, Any]
    done: tuple[dict[str, Any], ...]
    plan: plans.Plan


def run(
    chain: Chain,
    *,
    data: ImageData,
    workdir: str | Path,
    force: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Does what is missing of the chain, in order; whatever is finished is kept.

    Returns:
        The student's results, with those of the steps before under "chain". Its
        "plan" lists what the process that finished it had planned for each of the
        steps that were left to it, and took.
    """
    where = {"data": data, "workdir": workdir}
    before = prepare(chain, **where, force=force, command=command)
    planned = before.plan.step(student.KIND)
    results = student.run(
        chain.student,
        **where,
        distillation_set_path=before.path,
        passes=chain.passes,
        resident=chain.resident,
        planned=planned,
        steps_before=before.done,
    )
    if planned:
        plans.tell_all(results["plan"])
    return {**results, "chain": before.steps}


def prepare(
    chain: Chain,
    *,
    data: ImageData,
    workdir: str | Path,
    force: bool = False,
    command: str | None = None,
) -> Prepared:
    """Everything before the student: teachers, super teacher, distillation set."""
    planned = announce(chain, data=data, workdir=workdir, force=force)
    where = {"data": data, "workdir": workdir}
    teachers = [
        teacher.run(recipe, **where, planned=planned.step(f"teacher {number}"))
        for number, recipe in enumerate(chain.teachers, start=1)
    ]
    paths = [*chain.teacher_paths, *(result["model"] for result in teachers)]
    steps: dict[str, Any] = {"teachers": teachers}
    if len(paths) > 1 and data.labelled:
        steps["super_teacher"] = ensemble.run(paths, **where, force=force)
    steps["distillation_set"] = precompute.run(
        paths,
        **where,
        passes=chain.passes,
        signal=_signal(chain),
        force=force,
        command=command,
        planned=planned.step(precompute.STEP),
    )
    named = {f"teacher {i}": found for i, found in enumerate(teachers, start=1)}
    named[precompute.STEP] = steps["distillation_set"]
    done = [
        plans.kept(step.name, named[step.name])
        for step in planned.steps
        if step.name in named
    ]
    path = steps["distillation_set"]["distillation_set"]
    return Prepared(path=path, steps=steps, done=tuple(done), plan=planned)


def announce(
    chain: Chain, *, data: ImageData, workdir: str | Path, force: bool = False
) -> plans.Plan:
    """Says on stderr what is left of the chain and costs; nothing finished is measured.

    Raises:
        UserError: less free space than that needs, or a teacher that does not fit.
    """
    found = plan(chain, data=data, workdir=workdir, force=force)
    return plans.announce(found, workdir=workdir)


def plan(
    chain: Chain, *, data: ImageData, workdir: str | Path, force: bool = False
) -> plans.Plan:
    """What `announce` says."""
    devices.allow_gpu_growth()  # its memory is for the workers too
    runs, found, folder = _standing(chain, data=data, workdir=workdir)
    missing, num_bytes = _missing(chain, folder, data)
    require_space(workdir, num_bytes)  # before anything is measured
    for path in chain.teacher_paths:
        scoring.check_teacher(loading.load(path), path, data=data, force=force)
    steps, paths = [], [*chain.teacher_paths]
    with tempfile.TemporaryDirectory() as scratch:
        for number, (run, results) in enumerate(zip(runs, found, strict=True), start=1):
            if results is not None:
                paths.append(results["model"])
                continue
            recipe = chain.teachers[number - 1]
            stream = training.labelled_stream(recipe, kind="teacher", data=data)
            made_of = {"stream": stream, "data": data, "run": run}
            steps.append(costs.plan_training(f"teacher {number}", recipe, **made_of))
            paths.append(str(Path(scratch, f"{number}.keras")))
            untrained = built(recipe, data).student
            published(recipe.architecture, untrained).save(paths[-1])
        if missing:
            known = {"data": data, "signal": _signal(chain), "num_bytes": num_bytes}
            steps.append(precompute.plan(paths, missing, **known))
    steps += _student_step(chain, folder, data=data, workdir=workdir)
    return plans.Plan(tuple(steps))


def student_plan(
    chain: Chain, *, data: ImageData, workdir: str | Path
) -> list[plans.Step]:
    """The student's part of `plan`: nothing, or a step."""
    _, _, folder = _standing(chain, data=data, workdir=workdir)
    return _student_step(chain, folder, data=data, workdir=workdir)


def _standing(
    chain: Chain, *, data: ImageData, workdir: str | Path
) -> tuple[list[RunDirectory], list[dict[str, Any] | None], Path | None]:
    """The teachers' runs, their results, and the set's folder once all are there."""
    runs = [
        training.run_directory(recipe, kind="teacher", data=data, workdir=workdir)
        for recipe in chain.teachers
    ]
    found = [run.results() for run in runs]
    if None in found:
        return runs, found, None
    paths = [*chain.teacher_paths, *(results["model"] for results in found)]
    run = precompute.run_directory(
        paths, data=data, workdir=workdir, signal=_signal(chain)
    )
    return runs, found, run.path / precompute.FOLDER


def _signal(chain: Chain) -> precompute.Signal:
    return precompute.Signal(
        store=chain.store, augmentation=chain.student.augmentation, seed=chain.seed
    )


def _missing(
    chain: Chain, folder: Path | None, data: ImageData
) -> tuple[list[int], int]:
    """Views of the set's missing shards, and their bytes; all, if there is no folder
    before all teachers are there."""
    layout = Layout(len(data.train), len(data.validation), chain.passes, chain.seed)
    return missing_work(folder, layout, data=data, store=chain.store)


def _student_step(
    chain: Chain, folder: Path | None, *, data: ImageData, workdir: str | Path
) -> list[plans.Step]:
    """What is left of the student: nothing, or a step."""
    if chain.search:
        return []
    run = None  # nothing was begun on a set that is not finished
    if folder is not None and (folder / MANIFEST_NAME).exists():
        stored = distillation_set.DistillationSet(folder, read_manifest(folder), data)
        if stored.manifest.passes >= chain.passes:
            asked = student.passes_asked(stored, chain.passes)
            run = student.run_directory(
                chain.student, data=data, workdir=workdir, asked=asked
            )
            if run.results() is not None:
                return []
    step = costs.plan_training(
        student.KIND,
        chain.student,
        stream=_like_stored(chain, data),
        data=data,
        run=run,
    )
    return [step]


def _like_stored(chain: Chain, data: ImageData) -> EpochStream:
    """Batches that cost what the stored ones will; the logits are made up.

    The reader of images takes next to nothing beside a training, and a replay makes
    its views again.
    """
    batch_size = chain.student.training.batch_size
    live = live_views.stream(
        data.train,
        augmentation=chain.student.augmentation,
        seed=chain.seed,
        batch_size=batch_size,
    )

    def with_logits(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        shape = [tf.shape(batch["image"])[0], data.num_classes]
        label = {"label": batch["label"]} if data.labelled else {}
        return {"image": batch["image"], "teacher_logits": tf.zeros(shape), **label}

    def batches(first_epoch: int) -> tf.data.Dataset:
        made = live.batches(first_epoch)
        if chain.store == "images":
            made = made.take(4).cache().repeat()
        return made.map(with_logits)

    return dataclasses.replace(live, batches=batches)
