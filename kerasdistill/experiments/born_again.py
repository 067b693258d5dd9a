"""Born-Again Networks: each generation learns from the one before (fact sheet B).

Every generation and every ensemble has a run folder of its own, which other requests
find too: generation 0, say, serves all losses of a seed. The story's own folder keeps
which generations it is made of.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import (
    ensemble,
    generation_costs,
    generations,
    lineage,
    plans,
    teaching,
)
from kerasdistill.experiments.generation_costs import Chain, name_of
from kerasdistill.experiments.teaching import Signal, Teacher
from kerasdistill.models.build import build
from kerasdistill.recipes import base, born_again
from kerasdistill.recipes.architectures import BanResNet
from kerasdistill.reports import generation_curves, plots
from kerasdistill.runs import RunDirectory
from pipelines.datasets import ImageData

AVERAGING = "mean-probabilities"  # fact sheet B2
_NEEDS_LABELS = ("ban+l", "cwtm", "hard-label")


@dataclass(frozen=True)
class BornAgain:
    """A chain of generations.

    `arch` and its factors name the network of `recipe`, which is the students': their
    loss, and the seed that generation 0 has. With `teacher_path` that model is
    generation 0, of whatever network; `force` accepts it without a card.
    """

    arch: str
    recipe: base.BornAgainRecipe
    generations: int
    signal: Signal = Signal()
    teacher_path: str | None = None
    force: bool = False
    depth_factor: float = 1
    compression_factor: float = 1


def run(
    asked: BornAgain,
    *,
    data: ImageData,
    workdir: str | Path,
    command: str | None = None,
) -> dict[str, Any]:
    """Trains the generations that are missing, in order, then joins them.

    Returns:
        The content of `results.json`: `generations` (the 0th is the teacher) and
        `ensembles` by averaged softmax, each with its model and accuracies; test was
        scored once by each model and chose nothing; `best_generation` is that of the
        highest validation accuracy. `plan` is what was announced, beside what it took.

    Raises:
        UserError: the request contradicts itself, or the teacher does not fit.
        StaleArtifactError: a generation is missing or has changed since the next one
            learned from it.
    """
    _check(asked, data)
    where = {"data": data, "workdir": workdir}
    given = None
    if asked.teacher_path is not None:
        given = teaching.load_teacher(asked.teacher_path, data=data, force=asked.force)
        _check_shared_layers(asked, given, data)
    request = {
        "arch": asked.arch,
        "depth_factor": asked.depth_factor,
        "compression_factor": asked.compression_factor,
        "recipe": base.to_json(asked.recipe),
        "generations": asked.generations,
        "teacher": given and given.digest,
        "dataset": data.identity(),
        **asked.signal.request(asked.recipe),
    }
    with RunDirectory.open(workdir, "born-again", request) as folder:
        lineage.require_intact(folder, Path(workdir))
        if (found := folder.results()) is not None:
            return lineage.as_they_lie(found, Path(workdir))
        chain = Chain(asked.recipe, asked.generations, asked.signal, given)
        plan = generation_costs.announced(chain, **where)
        rows, took = _taught(asked, given, folder, plan, command=command, **where)
        joined = _joined(asked, rows, **where) if data.labelled else []
        results = _summed_up(asked, rows, joined, data)
        if plots.available() and data.labelled:
            results["picture"] = str(folder.path / "generations.png")
            generation_curves.draw([results], results["picture"])
        results |= {"plan": took, "results": str(folder.path / "results.json")}
        plans.tell_all(took)
        return folder.finish(results)


def _check(asked: BornAgain, data: ImageData) -> None:
    """Refuses, before anything is read or trained, what cannot be."""
    if asked.generations < 1:
        raise UserError(
            f"--generations is {asked.generations}, expected at least 1 student"
        )
    if isinstance(asked.recipe.architecture, BanResNet) and not asked.teacher_path:
        raise UserError(
            f"--arch {asked.arch} takes its first and last layer over from a teacher; "
            "give one such as densenet-90-60's with --teacher PATH"
        )
    if data.labelled:
        return
    if asked.teacher_path is None:
        raise UserError(
            f"generation 0 learns labels, which {data.name} has not; give a trained "
            "one with --teacher PATH"
        )
    if asked.recipe.training.loss in _NEEDS_LABELS:
        raise UserError(
            f"--loss {asked.recipe.training.loss} needs labels, which {data.name} and "
            "a distillation set made from it have not; use --loss ban or dkpp"
        )


def _check_shared_layers(asked: BornAgain, given: Teacher, data: ImageData) -> None:
    if isinstance(asked.recipe.architecture, BanResNet):
        build(
            asked.recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            teacher=given.model,
        )


def _taught(
    asked: BornAgain,
    given: Teacher | None,
    folder: RunDirectory,
    plan: plans.Plan,
    *,
    data: ImageData,
    workdir: str | Path,
    command: str | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for every generation, and the plan's steps with what they took."""
    where = {"data": data, "workdir": workdir}
    if given is not None:
        rows = [lineage.given_row(given, data)]
        teacher = given
    else:
        name = name_of(0)
        recipe = generations.recipe_of(asked.recipe, 0)
        found = generations.learn_labels(recipe, **where, planned=plan.step(name))
        rows = [lineage.row(0, found)]
        teacher = teaching.teacher_of(found, name=name, data=data)
    lineage.record(folder, rows)
    took = [] if given else _took(plan, name, found)
    for number in range(1, asked.generations + 1):
        name = name_of(number)
        found = generations.learn(
            generations.recipe_of(asked.recipe, number),
            name=name,
            teacher=teacher,
            signal=asked.signal,
            plan=plan,
            command=command,
            **where,
        )
        rows.append(lineage.row(number, found))
        # Looked at even if nobody learns from it: ensembles are made of it.
        teacher = teaching.teacher_of(found, name=name, data=data)
        lineage.record(folder, rows)
        took += _took(plan, name, found)
    return rows, took


def _took(plan: plans.Plan, name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The generation's steps as `plans.kept`, if they were planned."""
    steps = [found["precompute"]] if plan.step(generations.set_name(name)) else []
    return steps + ([plans.kept(name, found)] if plan.step(name) else [])


def _joined(
    asked: BornAgain,
    rows: list[dict[str, Any]],
    *,
    data: ImageData,
    workdir: str | Path,
) -> list[dict[str, Any]]:
    """The paper's ensembles of these generations."""
    joined = []
    for name, members in born_again.ensembles(asked.arch, asked.generations):
        began = time.monotonic()
        found = ensemble.run(
            [rows[number]["model"] for number in members],
            data=data,
            workdir=workdir,
            select="all",
            averaging=AVERAGING,
            force=asked.force,
        )
        joined.append(
            {
                "name": name,
                "members": list(members),
                "averaging": AVERAGING,
                "model": found["model"],
                "num_params": found["num_params"],
                "val_accuracy": found["val_accuracy"],
                "test_accuracy": found["test_accuracy"],
                "results": str(Path(found["model"]).with_name("results.json")),
                "seconds": time.monotonic() - began,
            }
        )
    return joined


def _summed_up(
    asked: BornAgain,
    rows: list[dict[str, Any]],
    joined: list[dict[str, Any]],
    data: ImageData,
) -> dict[str, Any]:
    factors = {
        "depth_factor": asked.depth_factor,
        "compression_factor": asked.compression_factor,
    }
    best = max(rows[1:], key=lambda row: row["val_accuracy"] or 0.0)
    return {
        "kind": "born-again",
        "arch": asked.arch,
        **factors,
        "teacher_arch": asked.teacher_path and lineage.teacher_arch(rows[0]),
        "loss": asked.recipe.training.loss,
        "teacher_signal": asked.signal.kind,
        "seed": asked.recipe.training.seed,
        "recipe": base.to_json(asked.recipe),
        "dataset": data.identity(),
        "generations": rows,
        "ensembles": joined,
        "best_generation": best["generation"] if data.labelled else None,
        "notes": born_again.notes(asked.arch, **factors),
    }
