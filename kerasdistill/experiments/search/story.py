"""Bayesian search among recipes of one family (fact sheets A4, A5, A9, A11).

Trials are ranked by validation accuracy. Test data are scored once, at the very end,
by the best trial's model, which is published as any other run's; nothing is retrained.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill.experiments.chain import in_short
from kerasdistill.experiments.search import definition, publishing, trials, workers
from kerasdistill.experiments.search.definition import TEACHER, Search
from kerasdistill.experiments.search.tables import Watch
from kerasdistill.experiments.search.trials import Trainer
from kerasdistill.recipes import reading
from kerasdistill.running import steps, timing
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from tuners import record
from tuners.search import Tuner


@dataclass(frozen=True)
class Material:
    """What a search's trials train on.

    `stream` gives a recipe's training data; `teacher_logits` are the teacher's on the
    validation images, [N, classes]; `facts` are further fields of the results;
    `reading` is entered while trials run.
    """

    stream: Callable[[Any], EpochStream]
    teacher_logits: np.ndarray | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reading: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext


def step(
    search: Search,
    *,
    data: ImageData,
    workdir: str | Path,
    material: Callable[[Results], Material],
    like: Callable[[Any], EpochStream],
    identity: Callable[[Results], Mapping[str, Any]] = lambda before: {},
    needs: tuple[str, ...] = (),
) -> Step:
    """The step that runs the trials that are missing, then publishes the best one.

    Args:
        search: what is asked.
        data: its validation split ranks the trials.
        workdir: where the search's folder goes, unless it has a place of its own.
        material: opens what trials train on.
        like: batches of a recipe that cost what those do.
        identity: what else is part of the search's request.
        needs: steps whose results these look at.
    """
    definition.objective(search, data, None)  # refuses what can't be

    def place(before: Results) -> RunDirectory:
        request = definition.identity(search, data, identity(before))
        if search.folder is not None:
            return RunDirectory(Path(search.folder), request)
        return RunDirectory.open(workdir, f"{search.kind}-search", request)

    def finished(run: RunDirectory) -> dict[str, Any] | None:
        found = run.results()
        return found if found and found["max_trials"] >= search.max_trials else None

    def cost(run: RunDirectory | None, before: Results) -> Cost:
        return _cost(search, run, data=data, like=like)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        found = material(before)
        with found.reading():
            run_trials(search, _trainer(search, found, data), run)
        logits = found.teacher_logits
        results = publishing.published(search, run, data=data, logits=logits)
        return {**results, **found.facts}

    name = f"search for a {search.kind}"
    return Step(name, place, work, cost, needs=needs, finished=finished)


@dataclass(frozen=True)
class Story:
    """A search and what leads to it.

    `steps` end with the search's; `material` opens what its trials train on;
    `retrain` trains a recipe as without a search, given the steps' results.
    """

    search: Search
    data: ImageData
    workdir: str | Path
    steps: tuple[Step, ...]
    material: Callable[[Results], Material]
    retrain: Callable[[Any, Results], dict[str, Any]]


def run(story: Story, *, only_plan: bool = False) -> dict[str, Any]:
    """Searches, or works for a search that is led elsewhere.

    Returns:
        The content of `results.json`: what a run of this kind has, and the search's
        `trials`, `best`, `fifth_best`, `mean_of_five_best` and `best_recipe`; under
        "chain" the steps before, if there are any. A worker's: `search`, `worker` and
        how many `trials` it ended.
    """
    search, last = story.search, story.steps[-1]
    if search.worker is not None:
        found = story.material({})
        with found.reading():
            return _work(search, _trainer(search, found, story.data), last.place({}))
    how = {"workdir": story.workdir, "only_plan": only_plan}
    done = steps.run(story.steps, **how).results
    folder, results = last.place(done), done[last.name]
    if search.seeds:
        best = reading.from_json(results["recipe"])
        again = publishing.again(
            search, best, lambda recipe: story.retrain(recipe, done)
        )
        with folder:
            results = folder.finish({**results, "seeds": again})
    led_here = {"chain": in_short(done)} if story.steps[1:] else {}
    return {**results, "search": str(folder.path), **led_here}


def _trainer(search: Search, material: Material, data: ImageData) -> Trainer:
    seen, logits = definition.objective(search, data, material.teacher_logits)
    return Trainer(
        kind=search.kind,
        space=search.space,
        finish=search.finish,
        stream=material.stream,
        data=seen,
        teacher_logits=logits,
        prune=search.prune,
    )


def _work(search: Search, trainer: Trainer, folder: RunDirectory) -> dict[str, Any]:
    return workers.work(
        definition.oracle(search),
        folder,
        address=search.chief,
        worker=search.worker,
        train=lambda point, place, check: trials.run(
            dataclasses.replace(trainer, check=check), point, place
        ),
    )


def run_trials(search: Search, trainer: Trainer, folder: RunDirectory) -> None:
    """Asks the oracle for trials, and trains them or has them trained, until there
    are no more.

    Raises:
        UserError: none of the trials came to a score.
    """
    oracle = definition.oracle(search)
    watch = Watch(
        folder.path,
        space=search.space,
        oracle=search.oracle,
        seed=search.seed,
        max_trials=search.max_trials,
        keep_all=search.kind == TEACHER,
    )
    if search.chief is not None:
        workers.lead(
            oracle,
            folder,
            address=search.chief,
            worker_timeout=search.worker_timeout,
            changed=lambda: watch.trial_ended(oracle),
        )
    else:
        Tuner(
            oracle,
            folder=folder.path,
            run=lambda point, place: trials.run(trainer, point, place),
            ended=lambda tuner: watch.trial_ended(tuner.oracle),
        ).search()
    watch.search_ended(oracle)


def _cost(
    search: Search,
    run: RunDirectory | None,
    *,
    data: ImageData,
    like: Callable[[Any], EpochStream],
) -> Cost:
    ended = len(record.trials(run.path)) if run else 0
    left = search.max_trials - ended
    told = f"{left} of {search.max_trials} trials"
    if left <= 0 or search.chief is not None:  # workers' speed is not known here
        return Cost(None, how=told)
    recipe = search.middle
    seen, _ = definition.objective(search, data, None)
    if search.objective_views is not None:
        # Only how many there are is looked at.
        few = seen.train.take(np.arange(search.objective_views))
        seen = dataclasses.replace(seen, train=few)
    speed = timing.measure(recipe, stream=like(recipe), data=seen)
    one = timing.training_cost(recipe, speed=speed, data=seen, run=None)
    # A model is a seventh of a training's files; the rest goes when it has ended.
    kept = left if search.kind == TEACHER else 2
    return Cost(
        seconds=left * one.seconds,
        num_bytes=one.num_bytes + kept * one.num_bytes // 7,
        how=f"{told}, {one.how}",
    )
