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
from pipelines.beam import probe
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
    """Where a generation goes, or went; `taught_by` is its teacher's weights digest,
    None for one that learns labels."""
    if taught_by is None:
        return training.run_directory(recipe, kind=KIND, data=data, workdir=workdir)
    request = {
        "recipe": recipe,
        "dataset": data.identity(),
        "teacher": taught_by,
        **signal.request(recipe),
    }
    return RunDirectory.open(workdir, KIND, request)


def name_of(number: int) -> str:
    """What a generation's step is called."""
    return f"generation {number}"


def set_name(name: str) -> str:
    """What a generation's distillation set is called in a plan."""
    return f"{precompute.STEP} for {name}"


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
    """The steps of so many students of one recipe, and of what they learn from.

    Args:
        recipe: the students'.
        count: how many, each taught by the one before.
        signal: how its answers come.
        data: what all learn from.
        workdir: where run folders go.
        given: the first one's teacher; or
        taught_by: the name of the step, of another story, that trains it, and
        taught_by_recipe: that step's recipe. With neither, generation 0 comes first.
        command: what finishes a stored signal, for errors.
        teachers: what loads finished generations, shared with the caller.
        prefix: put before the steps' names.
        meter: of several stories.
    """
    how = {"data": data, "workdir": workdir, "meter": meter or timing.Meter()}
    told, before = [], taught_by
    if given is None and taught_by is None:
        before = prefix + name_of(0)
        zero = recipe_of(recipe, 0)
        told.append(training.on_labels(zero, kind=KIND, name=before, **how))
    probed = functools.cache(_probed)
    teachers = teachers or Teachers(data)
    for number in range(1, count + 1):
        own, name = recipe_of(recipe, number), prefix + name_of(number)
        teacher = {"given": given} if given else {"before": before}
        if signal.kind == "stored":
            made = precompute.step(
                name=set_name(name),
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
            told.append(made)
        step = _learning(
            own,
            **teacher,
            name=name,
            signal=signal,
            teachers=teachers,
            taught_by=taught_by_recipe if number == 1 else None,
            **how,
        )
        told.append(step)
        given, before = None, name
    return told


def _probed(*paths: str, **rest: Any) -> Any:
    return probe.measure(list(paths), **rest)


def _learning(
    recipe: base.BornAgainRecipe,
    *,
    name: str,
    signal: Signal,
    teachers: Teachers,
    data: ImageData,
    workdir: str | Path,
    meter: timing.Meter,
    given: Teacher | None = None,
    before: str | None = None,
    taught_by: base.BornAgainRecipe | None = None,
) -> Step:
    """The step of a generation after the 0th, taught by what is given or by the step
    `before`; `taught_by` is of a teacher with another recipe."""

    def place(results: Results) -> RunDirectory:
        digest = given.digest if given else results[before]["weights_digest"]
        where = {"signal": signal, "data": data, "workdir": workdir}
        return run_directory(recipe, taught_by=digest, **where)

    def cost(run: RunDirectory | None, results: Results) -> Cost:
        def load() -> dict[str, Any]:
            teacher = given or teachers.like(before, results[before])
            return {"teacher": teacher.model, "ask": teacher.ask if live else None}

        taught_here = recipe.training.objective.learns_from_teacher
        live = signal.kind == "live" and taught_here
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
            lessons = signals.live(recipe, teacher, data)
        else:
            made = {"name": set_name(name), "data": data, "workdir": workdir}
            lessons = signals.stored(recipe, signal, results[made["name"]], **made)
        return _trained(recipe, teacher, lessons, data=data, run=run)

    def stand_in(scratch: Path) -> dict[str, Any]:
        path = scratch / "own.keras"  # later generations are as fast as this one
        if not path.exists():
            shared = given and given.model
            training.save_untrained(recipe, path, data, teacher=shared)
        return {"model": str(path)}

    return Step(
        name=name,
        place=place,
        work=work,
        cost=cost,
        needs=() if given else (before,),
        stand_in=None if meter.small else stand_in,
    )


def _trained(
    recipe: base.BornAgainRecipe,
    teacher: Teacher,
    lessons: signals.Teaching,
    *,
    data: ImageData,
    run: RunDirectory,
) -> dict[str, Any]:
    shared = {"data": data, "run": run, "teacher_logits": lessons.validation_logits}
    how = {"stream": lessons.stream, "ask": lessons.ask, "teacher": teacher.model}
    with lessons.reading():
        model, fitted = training.train(recipe, **how, **shared)
    origin = {"model": teacher.path, "weights_digest": teacher.digest}
    facts = {"teacher": origin, **lessons.facts}
    return training.publish(model, fitted, recipe, kind=KIND, **shared, **facts)
