"""What many chains of generations cost, before any network of theirs is trained.

Every network is measured once, on small batches, which a machine can hold that is not
the one that will train it: a step's time is taken as its images' times.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kerasdistill.experiments import (
    costs,
    generation_costs,
    generations,
    plans,
    teaching,
)
from kerasdistill.experiments.generation_costs import Chain
from kerasdistill.experiments.teaching import Signal, Teacher
from kerasdistill.recipes import base
from pipelines.datasets import ImageData

_BATCH = 16


@dataclass(frozen=True)
class Asked:
    """A chain by what people call it, with a live signal.

    `teacher` is the chain whose generation 0 teaches its first student; without one it
    has a generation 0 of its own.
    """

    name: str
    recipe: base.BornAgainRecipe
    count: int
    teacher: "Asked | None" = None


def steps(
    chains: Sequence[Asked], *, data: ImageData, workdir: str | Path
) -> list[plans.Step]:
    """A step for each chain with something left to do; ensembles are left out."""
    speeds: dict[str, costs.Speed] = {}
    found = []
    for asked in chains:
        trainings = [
            _training(asked, left, speeds, data)
            for left in generation_costs.left(
                _chain(asked, data, workdir), data=data, workdir=workdir
            )
        ]
        if trainings:
            step = plans.Step(
                name=asked.name,
                seconds=sum(each.seconds for each in trainings),
                num_bytes=sum(each.num_bytes for each in trainings),
                how=f"trainings: {len(trainings)}, the last {trainings[-1].how}",
            )
            found.append(step)
    return found


def _chain(asked: Asked, data: ImageData, workdir: str | Path) -> Chain:
    given = None
    if asked.teacher is not None:
        recipe = generations.recipe_of(asked.teacher.recipe, 0)
        known = {"taught_by": None, "signal": Signal(), "data": data}
        run = generations.run_directory(recipe, **known, workdir=workdir)
        digest = (run.results() or {}).get("weights_digest", "")
        given = Teacher(path="", model=None, digest=digest)
    return Chain(asked.recipe, asked.count, Signal(), given)


def _training(
    asked: Asked,
    left: generation_costs.Left,
    speeds: dict[str, costs.Speed],
    data: ImageData,
) -> plans.Step:
    speed = _speed(left.recipe, speeds, data)
    size = left.recipe.training.batch_size
    seconds = size / _BATCH * speed.step_seconds
    if left.number and left.recipe.training.loss != "hard-label":
        first = left.number == 1 and asked.teacher is not None
        teacher = asked.teacher.recipe if first else left.recipe
        seconds += size / _speed(teacher, speeds, data).scoring_rate
    return costs.training_step(
        generation_costs.name_of(left.number),
        left.recipe,
        speed=replace(speed, step_seconds=seconds),
        data=data,
        epochs=costs.epochs_left(left.recipe, left.run),
        stored_bytes=costs.stored_bytes(left.run),
    )


def _speed(
    recipe: base.BornAgainRecipe, speeds: dict[str, costs.Speed], data: ImageData
) -> costs.Speed:
    key = json.dumps(base.to_json(recipe)["architecture"], sort_keys=True)
    if key not in speeds:
        print(f"measuring {type(recipe.architecture).__name__} …", file=sys.stderr)
        training = {"loss": "hard-label", "batch_size": _BATCH}
        small = replace(recipe, training=replace(recipe.training, **training))
        speeds[key] = costs.measure(
            small,
            stream=teaching.live_stream(small, data),
            data=data,
            scored=2 * _BATCH,
        )
    return speeds[key]
