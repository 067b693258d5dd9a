"""From nothing to a student: teachers, super teacher, distillation set, student."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.experiments import ensemble, precompute, student, teacher
from kerasdistill.recipes import base
from kerasdistill.running import steps
from pipelines.datasets import ImageData


@dataclass(frozen=True)
class Chain:
    """What leads to a student; `teachers` are trained unless `teacher_paths` is set."""

    teachers: tuple[base.AnyTeacherRecipe, ...]
    teacher_paths: tuple[str, ...]
    student: base.StudentRecipe
    passes: int
    store: str = "images"
    seed: int = 0
    resident: str = "auto"


def run(
    chain: Chain,
    *,
    data: ImageData,
    workdir: str | Path,
    force: bool = False,
    command: str | None = None,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Does what is missing of the chain, in order; whatever is finished is kept.

    Args:
        chain: what is wanted.
        data: its splits.
        workdir: where the run folders go.
        force: accept teachers without a card that disagree with the labels.
        command: what finishes the set, for errors.
        only_plan: say what is left and stop.

    Returns:
        The student's results, with those of the steps before under "chain". Its
        "plan" lists what the process that finished it had planned for each of the
        steps that were left to it, and took.
    """
    how = {"data": data, "workdir": workdir}
    first = before(chain, **how, force=force, command=command)
    story = [*first, student_step(chain, **how)]
    results = steps.run(story, workdir=workdir, only_plan=only_plan).results
    return {**results[student.KIND], "chain": in_short(results)}


def before(
    chain: Chain,
    *,
    data: ImageData,
    workdir: str | Path,
    force: bool = False,
    command: str | None = None,
) -> list[steps.Step]:
    """All steps before the student's; the last is `precompute.STEP`."""
    how = {"data": data, "workdir": workdir}
    story = [
        teacher.step(recipe, **how, name=f"{teacher.KIND} {number}")
        for number, recipe in enumerate(chain.teachers, start=1)
    ]
    teachers = {
        "given": chain.teacher_paths,
        "trained": tuple(step.name for step in story),
        "force": force,
    }
    if len(chain.teacher_paths) + len(story) > 1 and data.labelled:
        story.append(ensemble.step(**how, **teachers))
    signal = precompute.Signal(
        store=chain.store, augmentation=chain.student.augmentation, seed=chain.seed
    )
    how |= {"passes": chain.passes, "signal": signal, "command": command}
    return [*story, precompute.step(**how, **teachers)]


def student_step(chain: Chain, *, data: ImageData, workdir: str | Path) -> steps.Step:
    """The last step."""
    return student.step(
        chain.student,
        data=data,
        workdir=workdir,
        made=precompute.STEP,
        store=chain.store,
        passes=chain.passes,
        resident=chain.resident,
    )


def in_short(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's answer says of the steps before it."""
    teachers = [
        found for name, found in results.items() if name.startswith(f"{teacher.KIND} ")
    ]
    told = {"teachers": teachers, "distillation_set": results[precompute.STEP]}
    if ensemble.STEP in results:
        told["super_teacher"] = results[ensemble.STEP]
    return told
