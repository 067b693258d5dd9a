"""Bayesian search among recipes of one family (docs/papers/urban2017.md).

Trials are ranked by validation accuracy. Test data are scored once, at the very end,
by the best trial's model, which is published as any other run's; nothing is retrained.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill.experiments.chain import in_short
from kerasdistill.experiments.search import definition, publishing, trials, workers
from kerasdistill.experiments.search.definition import Search
from kerasdistill.experiments.search.tables import Tables
from kerasdistill.experiments.search.trials import Trainer
from kerasdistill.recipes import reading
from kerasdistill.running import steps, timing
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.running.training import Material
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from tuners import record
from tuners.search import Tuner


@dataclass(frozen=True)
class Story:
    """A search and what leads to it; UserError for one that cannot be.

    Attributes:
        search: what to look for.
        data: its validation split ranks the trials.
        workdir: where the search's folder goes, unless it has a place of its own.
        material: opens what trials train on, from the results of the steps before.
        like: batches of a recipe that cost what those do.
        retrain: trains a recipe as without a search, from the same results.
        identity: what else is part of the search's request, from the same results.
        before: the steps that lead to it; these look at the last one's results.
    """

    search: Search
    data: ImageData
    workdir: str | Path
    material: Callable[[Results], Material]
    like: Callable[[Any], EpochStream]
    retrain: Callable[[Any, Results], dict[str, Any]]
    identity: Callable[[Results], Mapping[str, Any]] = lambda before: {}
    before: tuple[Step, ...] = ()

    def __post_init__(self):
        definition.objective(self.search, self.data, None)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those before, and the one that runs the missing trials and publishes."""
        name = f"search for a {self.search.kind}"
        needs = tuple(step.name for step in self.before[-1:])
        how = {"needs": needs, "finished": self._finished}
        last = Step(name, self.place, self._work, self._cost, **how)
        return (*self.before, last)

    def as_begun(self, before: Results) -> "Story":
        """This one, or the one that an older rule made, if only that has begun."""
        if (older := self.search.older) is None or self._place(before).begun:
            return self
        earlier = dataclasses.replace(self, search=older)
        return earlier if earlier._place(before).begun else self

    def place(self, before: Results) -> RunDirectory:
        """The search's folder."""
        return self.as_begun(before)._place(before)

    def _place(self, before: Results) -> RunDirectory:
        search = self.search
        request = definition.identity(search, self.data, self.identity(before))
        if search.folder is not None:
            return RunDirectory(Path(search.folder), request)
        return RunDirectory.open(self.workdir, f"{search.kind}-search", request)

    def trainer(self, material: Material) -> Trainer:
        """What trains the trials."""
        logits = material.teacher_logits
        seen, logits = definition.objective(self.search, self.data, logits)
        return Trainer(self.search, material.stream, seen, logits)

    def _finished(self, run: RunDirectory) -> dict[str, Any] | None:
        results = run.results()
        enough = results and results["max_trials"] >= self.search.max_trials
        return results if enough else None

    def _work(self, run: RunDirectory, before: Results) -> dict[str, Any]:
        story, material = self.as_begun(before), self.material(before)
        with material.reading():
            run_trials(story.search, story.trainer(material), run)
        how = {"data": self.data, "logits": material.teacher_logits}
        results = publishing.published(story.search, run, **how)
        return {**results, **material.facts}

    def _cost(self, run: RunDirectory | None, before: Results) -> Cost:
        search = (self.as_begun(before) if run else self).search
        left = search.max_trials - (len(record.trials(run.path)) if run else 0)
        how = f"{left} of {search.max_trials} trials"
        if left <= 0 or search.chief is not None:  # workers' speed is not known here
            return Cost(None, how=how)
        recipe = search.middle
        seen, _ = definition.objective(search, self.data, None)
        if search.objective_views is not None:
            # Only how many there are is looked at.
            few = seen.train.take(np.arange(search.objective_views))
            seen = dataclasses.replace(seen, train=few)
        speed = timing.measure(recipe, stream=self.like(recipe), data=seen)
        one = timing.training_cost(recipe, speed=speed, data=seen, run=None)
        # A model is a seventh of a training's files; the rest goes when it has ended.
        kept = left if search.keeps_models else 2
        return Cost(
            seconds=left * one.seconds,
            num_bytes=one.num_bytes + kept * one.num_bytes // 7,
            how=f"{how}, {one.how}",
        )


def run(story: Story, *, only_plan: bool = False) -> dict[str, Any]:
    """Searches, or works for a search that is led elsewhere.

    Returns:
        The content of `results.json`: what a run of this kind has, and the search's
        `trials`, `best`, `fifth_best`, `mean_of_five_best` and `best_recipe`; under
        "chain" the steps before, if there are any. A worker's: `search`, `worker` and
        how many `trials` it ended.
    """
    search = story.search
    if search.worker is not None:
        story, material = story.as_begun({}), story.material({})
        with material.reading():
            return _work(story.search, story.trainer(material), story.place({}))
    how = {"workdir": story.workdir, "only_plan": only_plan}
    done = steps.run(story.steps, **how).results
    folder, results = story.place(done), done[story.steps[-1].name]
    if search.seeds:
        best = reading.from_json(results["recipe"])
        again = publishing.again(
            search, best, lambda recipe: story.retrain(recipe, done)
        )
        with folder:
            results = folder.finish({**results, "seeds": again})
    led_here = {"chain": in_short(done)} if story.before else {}
    return {**results, "search": str(folder.path), **led_here}


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
    tables = Tables(folder.path, search)
    if search.chief is not None:
        workers.lead(
            oracle,
            folder,
            address=search.chief,
            worker_timeout=search.worker_timeout,
            changed=lambda: tables.trial_ended(oracle),
        )
    else:
        Tuner(
            oracle,
            folder=folder.path,
            run=lambda point, place: trials.run(trainer, point, place),
            ended=lambda tuner: tables.trial_ended(tuner.oracle),
        ).search()
    tables.search_ended(oracle)
