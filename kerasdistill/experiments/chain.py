"""From nothing to a student: teachers, super teacher, distillation set, student."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.experiments import (
    costs,
    ensemble,
    precompute,
    student,
    teacher,
    training,
)
from kerasdistill.files import require_space
from kerasdistill.models import cnn_teacher, loading
from kerasdistill.models import student as student_model
from kerasdistill.recipes import base
from pipelines.datasets import ImageData
from pipelines.planning import planned_bytes

# Weights and momentum in the last checkpoint, twice while it is replaced, the best
# weights, the model and its SavedModel: seven float32 numbers.
BYTES_PER_PARAM = 28


@dataclass(frozen=True)
class Chain:
    """What leads to a student; `teachers` are trained unless `teacher_paths` is set."""

    teachers: tuple[base.TeacherRecipe, ...]
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
) -> dict[str, Any]:
    """Does what is missing of the chain, in order; whatever is finished is kept.

    Returns:
        The student's results, with those of the steps before under "chain".
    """
    teachers = [
        teacher.run(recipe, data=data, workdir=workdir) for recipe in chain.teachers
    ]
    paths = [*chain.teacher_paths, *(result["model"] for result in teachers)]
    steps: dict[str, Any] = {"teachers": teachers}
    if len(paths) > 1 and data.labelled:
        steps["super_teacher"] = ensemble.run(
            paths, data=data, workdir=workdir, force=force
        )
    steps["distillation_set"] = precompute.run(
        paths,
        data=data,
        workdir=workdir,
        passes=chain.passes,
        signal=_signal(chain),
        force=force,
        command=command,
    )
    results = student.run(
        chain.student,
        data=data,
        workdir=workdir,
        distillation_set_path=steps["distillation_set"]["distillation_set"],
        passes=chain.passes,
        resident=chain.resident,
    )
    return {**results, "chain": steps}


def announce(chain: Chain, *, data: ImageData, workdir: str | Path) -> None:
    """Says on stderr what the chain does and costs; refuses a disk too small.

    Raises:
        UserError: less free space than what is still missing of the set needs.
    """
    views = chain.passes * len(data.train)
    stored = planned_bytes(data, passes=chain.passes, store=chain.store)
    lines, total, scoring, num_params = [], 0.0, 0.0, 0
    for recipe in chain.teachers:
        speed = costs.measure(cnn_teacher.build, recipe, data)
        seconds = costs.training_seconds(recipe, speed, data)
        scoring += 1 / speed.scoring
        num_params += speed.num_params
        total += seconds
        lines.append(
            _line("train teacher", recipe, seconds, rate=speed.training, data=data)
        )
    for path in chain.teacher_paths:
        scoring += 1 / costs.scoring_rate(loading.load(path), data)
    seconds = views * scoring
    total += seconds
    lines.append(
        f"label {chain.passes} passes x {len(data.train):,} images = {views:,} views "
        f"({costs.size(stored)}): about {costs.duration(seconds)}"
    )
    speed = costs.measure(student_model.build, chain.student, data)
    seconds = costs.training_seconds(chain.student, speed, data)
    total += seconds
    lines.append(
        _line("train student", chain.student, seconds, rate=speed.training, data=data)
    )
    for number, line in enumerate(lines, start=1):
        print(f"step {number}: {line}", file=sys.stderr)
    print(
        f"in all about {costs.duration(total)} and {costs.size(stored)} under "
        f"{workdir}, less what is already done; interrupt and repeat at will",
        file=sys.stderr,
    )
    models = BYTES_PER_PARAM * (num_params + speed.num_params)
    require_space(workdir, stored - _already_stored(chain, data, workdir) + models)


def _signal(chain: Chain) -> precompute.Signal:
    return precompute.Signal(
        store=chain.store, augmentation=chain.student.augmentation, seed=chain.seed
    )


def _line(
    what: str, recipe: base.Recipe, seconds: float, *, rate: float, data: ImageData
) -> str:
    epochs = recipe.training.epochs
    of = f"{epochs} epochs" if epochs else f"paper's stop, say {costs.ASSUMED_EPOCHS}"
    widths = getattr(recipe.architecture, "filters", ())
    return (
        f"{what} {'-'.join(map(str, widths)) or 'MLP'} ({of}, {rate:.0f} images/s, "
        f"{recipe.training.precision}): about {costs.duration(seconds)}"
    )


def _already_stored(chain: Chain, data: ImageData, workdir: str | Path) -> int:
    """Bytes that an earlier call left of this chain's distillation set."""
    paths = list(chain.teacher_paths)
    for recipe in chain.teachers:
        folder = training.run_directory(
            recipe, kind="teacher", data=data, workdir=workdir
        )
        found = folder.results()
        if found is None:
            return 0
        paths.append(found["model"])
    folder = precompute.run_directory(
        paths,
        data=data,
        workdir=workdir,
        signal=_signal(chain),
    )
    shards = (folder.path / precompute.FOLDER).glob("*.tfrecord-*")
    return sum(shard.stat().st_size for shard in shards)
