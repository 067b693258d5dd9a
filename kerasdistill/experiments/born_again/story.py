"""Born-Again Networks: each generation learns from the one before.

The paper, and what it leaves open: docs/papers/born-again.md.

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
from kerasdistill.experiments.born_again.lineage import SCORES
from kerasdistill.experiments.born_again.signals import Signal, Teacher, Teachers
from kerasdistill.models.build import build
from kerasdistill.recipes import base, born_again
from kerasdistill.recipes.architectures import BanResNet
from kerasdistill.reports import generation_curves, plots
from kerasdistill.running import steps
from kerasdistill.runs import RunDirectory
from pipelines.datasets import ImageData

AVERAGING = "mean-probabilities"  # docs/papers/born-again.md


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

    @property
    def factors(self) -> dict[str, float]:
        """Of depth and compression, by their fields' names."""
        names = ("depth_factor", "compression_factor")
        return {name: getattr(self, name) for name in names}


def run(
    chain: BornAgain,
    *,
    data: ImageData,
    workdir: str | Path,
    command: str | None = None,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains the generations that are missing, in order, then joins them.

    `command` is what finishes a stored signal, for errors. With `only_plan`, says what
    is left and stops.

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
    _check(chain, data)
    given = None
    if chain.teacher_path is not None:
        given = signals.load_teacher(
            chain.teacher_path, data=data, force=chain.force, tell=True
        )
        if isinstance(chain.recipe.architecture, BanResNet):  # whose layers must fit
            how = {"image_shape": data.image_shape, "num_classes": data.num_classes}
            build(chain.recipe.architecture, **how, teacher=given.model)
    folder = RunDirectory.open(workdir, "born-again", _identity(chain, given, data))
    lineage.require_intact(folder, Path(workdir))
    results = folder.results()
    if results is not None and not only_plan:
        return lineage.as_they_lie(results, Path(workdir))
    how, teachers = {"data": data, "workdir": workdir}, Teachers(data)
    story = generations.story(
        chain.recipe,
        count=chain.generations,
        signal=chain.signal,
        given=given,
        command=command,
        teachers=teachers,
        **how,
    )
    if only_plan:
        steps.run([] if results else story, workdir=workdir, only_plan=True)
    with folder:
        rows, took = _taught(story, given, folder, data=data, teachers=teachers)
        ensembles = _ensembles(chain, rows, **how) if data.labelled else []
        results = _summed_up(chain, rows, ensembles, data)
        if plots.available() and data.labelled:
            results["picture"] = str(folder.path / "generations.png")
            generation_curves.draw([results], results["picture"])
        results |= {"plan": took, "results": str(folder.path / "results.json")}
        return folder.finish(results)


def _identity(
    chain: BornAgain, given: Teacher | None, data: ImageData
) -> dict[str, Any]:
    return {
        "arch": chain.arch,
        **chain.factors,
        "recipe": chain.recipe,
        "generations": chain.generations,
        "teacher": given and given.digest,
        "dataset": data.identity(),
        **chain.signal.request(chain.recipe),
    }


def _check(chain: BornAgain, data: ImageData) -> None:
    """Refuses, before anything is read or trained, what cannot be."""
    if chain.generations < 1:
        raise UserError(
            f"`generations` is {chain.generations}, expected at least 1 student"
        )
    if isinstance(chain.recipe.architecture, BanResNet) and not chain.teacher_path:
        raise UserError(
            f"`arch={chain.arch}` takes its first and last layer over from a teacher; "
            "give one such as densenet-90-60's with `teacher_path=PATH`"
        )
    if data.labelled:
        return
    if chain.teacher_path is None:
        raise UserError(
            f"generation 0 learns labels, but {data.name} has none; give a trained "
            "one with `teacher_path=PATH`"
        )
    if "label" in chain.recipe.training.objective.needs:
        raise UserError(
            f"`loss={chain.recipe.training.loss}` needs labels, but {data.name} and a "
            "distillation set made from it have none; use `loss=ban` or dkpp"
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

    def ended(name: str, results: dict[str, Any]) -> None:
        if results["kind"] != signals.KIND:
            return
        # Looked at even if nobody learns from it: ensembles are made of it.
        teachers.of(name, results)
        rows.append(lineage.row(len(rows), results))
        lineage.record(folder, rows)

    done = steps.run(story, workdir=folder.path.parent, ended=ended)
    return rows, done.took


def _ensembles(
    chain: BornAgain, rows: list[dict[str, Any]], **how: Any
) -> list[dict[str, Any]]:
    """A row for each of the paper's ensembles; `how` is that of `ensemble.run`."""
    joined = []
    how |= {"averaging": AVERAGING, "force": chain.force}
    for name, members in born_again.ensembles(chain.arch, chain.generations):
        began = time.monotonic()
        models = [rows[number]["model"] for number in members]
        results = ensemble.run(models, **how)
        row = {"name": name, "members": list(members), "averaging": AVERAGING}
        row |= {field: results[field] for field in ("model", "num_params", *SCORES)}
        row["results"] = str(Path(results["model"]).with_name("results.json"))
        joined.append(row | {"seconds": time.monotonic() - began})
    return joined


def _summed_up(
    chain: BornAgain,
    rows: list[dict[str, Any]],
    ensembles: list[dict[str, Any]],
    data: ImageData,
) -> dict[str, Any]:
    best = max(rows[1:], key=lambda row: row["val_accuracy"] or 0.0)
    return {
        "kind": "born-again",
        "arch": chain.arch,
        **chain.factors,
        "teacher_arch": chain.teacher_path and lineage.teacher_arch(rows[0]),
        "loss": chain.recipe.training.loss,
        "teacher_signal": chain.signal.kind,
        "seed": chain.recipe.training.seed,
        "recipe": base.to_json(chain.recipe),
        "dataset": data.identity(),
        "generations": rows,
        "ensembles": ensembles,
        "best_generation": best["generation"] if data.labelled else None,
        "notes": born_again.notes(chain.arch, **chain.factors),
    }
