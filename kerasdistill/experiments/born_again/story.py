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
from kerasdistill.experiments import ensemble
from kerasdistill.experiments.born_again import generations, lineage, signals
from kerasdistill.experiments.born_again.signals import Signal, Teacher, Teachers
from kerasdistill.models.build import build
from kerasdistill.recipes import base, born_again
from kerasdistill.recipes.architectures import BanResNet
from kerasdistill.reports import generation_curves, plots
from kerasdistill.running import steps
from kerasdistill.runs import RunDirectory
from pipelines.datasets import ImageData

AVERAGING = "mean-probabilities"  # fact sheet B2


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
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains the generations that are missing, in order, then joins them.

    Args:
        asked: the chain.
        data: what all learn from.
        workdir: where run folders go.
        command: what finishes a stored signal, for errors.
        only_plan: say what is left and stop.

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
    given = None
    if asked.teacher_path is not None:
        given = signals.load_teacher(asked.teacher_path, data=data, force=asked.force)
        _check_shared_layers(asked, given, data)
    folder = RunDirectory.open(workdir, "born-again", _identity(asked, given, data))
    lineage.require_intact(folder, Path(workdir))
    found = folder.results()
    if found is not None and not only_plan:
        return lineage.as_they_lie(found, Path(workdir))
    how = {"data": data, "workdir": workdir}
    teachers = Teachers(data)
    story = generations.story(
        asked.recipe,
        count=asked.generations,
        signal=asked.signal,
        given=given,
        command=command,
        teachers=teachers,
        **how,
    )
    if only_plan:
        steps.run([] if found else story, workdir=workdir, only_plan=True)
    with folder:
        rows, took = _taught(story, given, folder, data=data, teachers=teachers)
        joined = _joined(asked, rows, **how) if data.labelled else []
        results = _summed_up(asked, rows, joined, data)
        if plots.available() and data.labelled:
            results["picture"] = str(folder.path / "generations.png")
            generation_curves.draw([results], results["picture"])
        results |= {"plan": took, "results": str(folder.path / "results.json")}
        return folder.finish(results)


def _identity(
    asked: BornAgain, given: Teacher | None, data: ImageData
) -> dict[str, Any]:
    return {
        "arch": asked.arch,
        "depth_factor": asked.depth_factor,
        "compression_factor": asked.compression_factor,
        "recipe": asked.recipe,
        "generations": asked.generations,
        "teacher": given and given.digest,
        "dataset": data.identity(),
        **asked.signal.request(asked.recipe),
    }


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
    if "label" in asked.recipe.training.objective.needs:
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
    story: list[steps.Step],
    given: Teacher | None,
    folder: RunDirectory,
    *,
    data: ImageData,
    teachers: Teachers,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row for every generation, and the plan's steps with what they took."""
    rows = []
    if given:
        rows.append(lineage.given_row(given, data))
        lineage.record(folder, rows)

    def ended(name: str, found: dict[str, Any]) -> None:
        if found["kind"] != signals.KIND:
            return
        # Looked at even if nobody learns from it: ensembles are made of it.
        teachers.of(name, found)
        rows.append(lineage.row(len(rows), found))
        lineage.record(folder, rows)

    done = steps.run(story, workdir=folder.path.parent, ended=ended)
    return rows, done.took


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
