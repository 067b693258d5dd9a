"""From nothing to a student: teachers, super teacher, distillation set, student."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.experiments import ensemble, precompute, student, teacher
from kerasdistill.recipes import base
from kerasdistill.running import steps, training
from pipelines.datasets import ImageData


@dataclass(frozen=True)
class Chain:
    """What leads to a student.

    Attributes:
        teachers: recipes of teachers to train first, such as `urban2017.teacher(1)`.
        teacher_paths: `.keras` files of finished ones instead, as
            `adapting.adapted` gives them.
        student: its recipe: `urban2017.student` or `urban2017.given`.
        passes: augmented sweeps over the training images.
        store: "images", or "replay", which keeps what re-makes them.
        seed: of the views.
        resident: whether passes are held in memory: "auto", "always" or "never".
        older_student: what an older rule made of the same request: see `student.run`.
    """

    teachers: tuple[base.AnyTeacherRecipe, ...]
    teacher_paths: tuple[str, ...]
    student: base.StudentRecipe
    passes: int
    store: str = "images"
    seed: int = 0
    resident: str = "auto"
    older_student: base.StudentRecipe | None = None


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
        chain: what leads to the student.
        data: of `datasets.load`.
        workdir: where the run folders go.
        force: accept teachers without a card that disagree with the labels.
        command: what finishes the set, for errors.
        only_plan: say what is left, and raise `OnlyPlanned`.

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
    how, kind = {"data": data, "workdir": workdir}, teacher.KIND
    story = [
        training.on_labels(recipe, kind=kind, name=f"{kind} {number}", **how)
        for number, recipe in enumerate(chain.teachers, start=1)
    ]
    trained = tuple(step.name for step in story)
    teachers = {"given": chain.teacher_paths, "trained": trained, "force": force}
    if len(chain.teacher_paths) + len(story) > 1 and data.labelled:
        story.append(ensemble.step(**how, **teachers))
    signal = precompute.Signal(
        store=chain.store, augmentation=chain.student.augmentation, seed=chain.seed
    )
    how |= {"passes": chain.passes, "signal": signal, "command": command}
    return [*story, precompute.step(**how, **teachers)]


def student_step(chain: Chain, *, data: ImageData, workdir: str | Path) -> steps.Step:
    """The last step."""
    how = {"passes": chain.passes, "store": chain.store, "resident": chain.resident}
    how |= {"data": data, "workdir": workdir, "made": precompute.STEP}
    how |= {"older": chain.older_student}
    return student.step(chain.student, **how)


def in_short(results: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's results say of the steps before it."""
    names = [name for name in results if name.startswith(f"{teacher.KIND} ")]
    short = {"teachers": [results[name] for name in names]}
    short["distillation_set"] = results[precompute.STEP]
    if ensemble.STEP in results:
        short["super_teacher"] = results[ensemble.STEP]
    return short
