"""One generation: the 0th learns labels, later ones what the one before says (B2)."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill.experiments import costs, plans, precompute, teaching, training
from kerasdistill.experiments.teaching import KIND, Signal, Teacher
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from pipelines.datasets import ImageData


def recipe_of(recipe: base.BornAgainRecipe, number: int) -> base.BornAgainRecipe:
    """The recipe of generation `number` of a chain whose students have `recipe`.

    Generation 0 learns labels, so it is the same for all losses; every later one has
    a seed of its own.
    """
    if number:
        seed = derive_seed(recipe.training.seed, KIND, number)
        return replace(recipe, training=replace(recipe.training, seed=seed))
    of_students = "loss temperature label_weight teacher_weight permutation".split()
    plain = {name: getattr(base.BornAgainTraining, name) for name in of_students}
    return replace(recipe, training=replace(recipe.training, **plain))


def run_directory(
    recipe: base.BornAgainRecipe,
    *,
    taught_by: str | None,
    signal: Signal,
    data: ImageData,
    workdir: str | Path,
) -> RunDirectory:
    """Where a generation goes, or went; `taught_by` is its teacher's weights digest,
    None for one that learns labels."""
    if taught_by is None:
        return training.run_directory(recipe, kind=KIND, data=data, workdir=workdir)
    request = {
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "teacher": taught_by,
        **signal.request(recipe),
    }
    return RunDirectory.open(workdir, KIND, request)


def learn_labels(
    recipe: base.BornAgainRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    planned: plans.Step | None = None,
) -> dict[str, Any]:
    """Trains generation 0, or finishes or finds the run that did."""
    return training.on_hard_labels(
        recipe,
        kind=KIND,
        data=data,
        workdir=workdir,
        planned=planned,
    )


def learn(
    recipe: base.BornAgainRecipe,
    *,
    name: str,
    teacher: Teacher,
    signal: Signal,
    data: ImageData,
    workdir: str | Path,
    plan: plans.Plan,
    command: str | None = None,
) -> dict[str, Any]:
    """Trains a later generation, or finishes or finds the run that did.

    Args:
        recipe: the generation's own, with its seed.
        name: what people call it, and its step in `plan`.
        teacher: the generation before.
        signal: how its answers come.
        data: what both learn from.
        workdir: where the run folder, and a stored signal's, go.
        plan: what was announced.
        command: what finishes a stored signal, for errors.

    Returns:
        The content of `results.json`.
    """
    where = {"data": data, "workdir": workdir}
    folder = run_directory(recipe, taught_by=teacher.digest, signal=signal, **where)
    with folder:
        if (found := folder.results()) is not None:
            return found
        if signal.kind == "live":
            lesson = teaching.live(recipe, teacher, data)
        else:
            step = plan.step(set_name(name))
            made = {"name": set_name(name), "planned": step, "command": command}
            lesson = teaching.stored(recipe, teacher, signal, **where, **made)
        about = {"stream": lesson.stream, "data": data, "run": folder}
        about |= {"ask": lesson.ask, "teacher": teacher.model}
        with lesson.reading():
            step = costs.announced(plan.step(name), name, recipe, **about)
            began = time.monotonic()
            logits = {"teacher_logits": lesson.validation_logits}
            model, fitted = training.train(recipe, **about, **logits)
        results = training.publish(
            model,
            fitted,
            recipe,
            kind=KIND,
            data=data,
            run=folder,
            teacher={"model": teacher.path, "weights_digest": teacher.digest},
            **logits,
            **lesson.facts,
        )
        return folder.finish({**results, **plans.tell(step, since=began)})


def set_name(name: str) -> str:
    """What a generation's distillation set is called in a plan."""
    return f"{precompute.STEP} for {name}"
