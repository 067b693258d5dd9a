"""One generation: the 0th learns labels, later ones what the one before says (B2)."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill.experiments import precompute
from kerasdistill.experiments.born_again import signals
from kerasdistill.experiments.born_again.signals import (
    KIND,
    Signal,
    Teacher,
    Teachers,
    live_stream,
)
from kerasdistill.experiments.student import like_stored
from kerasdistill.objectives import HardLabel
from kerasdistill.recipes import base
from kerasdistill.running import timing, training
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.running.timing import TaughtBy
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
    return replace(recipe, training=replace(recipe.training, objective=HardLabel()))


def run_directory(
    recipe: base.BornAgainRecipe,
    *,
    taught_by: str | None,
    signal: Signal,
    data: ImageData,
    workdir: str | Path,
) -> RunDirectory:
    """The folder of a generation; `taught_by` is its teacher's weights digest, None for
    one that learns labels."""
    how = {"kind": KIND, "data": data, "workdir": workdir}
    if taught_by is not None:
        how |= {"teacher": taught_by, **signal.request(recipe)}
    return training.run_directory(recipe, **how)


def name_of(number: int) -> str:
    """What a generation's step is called."""
    return f"generation {number}"


def story(
    recipe: base.BornAgainRecipe,
    *,
    count: int,
    signal: Signal,
    data: ImageData,
    workdir: str | Path,
    given: Teacher | None = None,
    taught_by: str | None = None,
    taught_by_recipe: base.BornAgainRecipe | None = None,
    command: str | None = None,
    teachers: Teachers | None = None,
    prefix: str = "",
    meter: timing.Meter | None = None,
) -> list[Step]:
    """The steps of `count` students of one recipe, and of what they learn from.

    Each is taught by the one before. The first one's teacher is `given`, or trained by
    the step `taught_by` of another story with the recipe `taught_by_recipe`; with
    neither, generation 0 comes first. `teachers` and `meter` may be shared with other
    stories, whose names have another `prefix`; `command` is what finishes a stored
    signal, for errors.
    """
    how = {"data": data, "workdir": workdir, "meter": meter or timing.Meter()}
    story, before = [], taught_by
    if given is None and taught_by is None:
        before = prefix + name_of(0)
        zero = recipe_of(recipe, 0)
        first = {"kind": KIND, "name": before, "number": 0}
        story.append(training.on_labels(zero, **first, **how))

    @functools.cache
    def probed(*paths: str, **rest: Any) -> Any:
        from pipelines.beam import probe  # what is taught live needs no Apache Beam

        return probe.measure(list(paths), **rest)

    how |= {"signal": signal, "teachers": teachers or Teachers(data)}
    for number in range(1, count + 1):
        own, name = recipe_of(recipe, number), prefix + name_of(number)
        if signal.kind == "stored":
            made = precompute.step(
                name=_set_name(name),
                data=data,
                workdir=workdir,
                passes=signal.passes_of(own),
                signal=signal.of_set(own),
                given=[given.path] if given else [],
                trained=[] if given else [before],
                force=given is not None and given.forced,
                command=command,
                measure=lambda paths, **rest: probed(*paths, **rest),
            )
            story.append(made)
        other = taught_by_recipe if number == 1 else None
        teacher = {"given": given, "before": before, "taught_by": other}
        named = {"number": number, "seed": recipe.training.seed}
        story.append(_learning(own, name=name, named=named, **teacher, **how))
        given, before = None, name
    return story


def _set_name(name: str) -> str:
    """What a generation's distillation set is called in a plan."""
    return f"{precompute.STEP} for {name}"


def _learning(
    recipe: base.BornAgainRecipe,
    *,
    name: str,
    named: dict[str, int],
    signal: Signal,
    teachers: Teachers,
    data: ImageData,
    workdir: str | Path,
    meter: timing.Meter,
    given: Teacher | None,
    before: str | None,
    taught_by: base.BornAgainRecipe | None,
) -> Step:
    """The step of a generation after the 0th, taught by what is given or by the step
    `before`; `taught_by` is of a teacher with another recipe, `named` the
    generation's number and its chain's seed."""

    def place(results: Results) -> RunDirectory:
        digest = given.digest if given else results[before]["weights_digest"]
        how = {"signal": signal, "data": data, "workdir": workdir}
        return run_directory(recipe, taught_by=digest, **how)

    def cost(run: RunDirectory | None, results: Results) -> Cost:
        def load() -> dict[str, Any]:
            teacher = given or teachers.like(before, results[before])
            return {"teacher": teacher.model, "ask": teacher.model if live else None}

        live = signal.kind == "live" and recipe.training.objective.learns_from_teacher
        key = given.path if given else "another" if taught_by else "own"
        stream = functools.partial(live_stream, data=data)
        if signal.kind == "stored":
            stream = functools.partial(like_stored, data=data, store=signal.store)
        teacher = TaughtBy(key, load, live, recipe=taught_by)
        speed = meter.speed(recipe, data=data, stream=stream, taught_by=teacher)
        return timing.training_cost(recipe, speed=speed, data=data, run=run)

    def work(run: RunDirectory, results: Results) -> dict[str, Any]:
        teacher = given or teachers.of(before, results[before])
        if signal.kind == "live":
            material = signals.live(recipe, teacher, data)
        else:
            how = {"name": _set_name(name), "data": data, "workdir": workdir}
            material = signals.stored(recipe, signal, results[how["name"]], **how)
        origin = {"model": teacher.path, "weights_digest": teacher.digest}
        material = replace(material, facts={"teacher": origin, **material.facts})
        how = {"kind": KIND, "data": data, "run": run, "teacher": teacher.model} | named
        return training.trained(recipe, material, **how)

    def stand_in(scratch: Path) -> dict[str, Any]:
        path = scratch / "own.keras"  # later generations are as fast as this one
        if not path.exists():
            training.save_untrained(recipe, path, data, teacher=given and given.model)
        return {"model": str(path)}

    return Step(
        name=name,
        place=place,
        work=work,
        cost=cost,
        needs=() if given else (before,),
        stand_in=None if meter.small else stand_in,
    )
