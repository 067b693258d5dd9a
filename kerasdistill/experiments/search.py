"""Bayesian search among recipes of one family (fact sheets A4, A5, A9, A11).

Trials are ranked by validation accuracy. Test data are scored once, at the very end,
by the best trial's model, which is published as any other run's; nothing is retrained.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill.experiments import asking, costs, crew, outcome, plans, trials
from kerasdistill.experiments.asking import TEACHER, Search
from kerasdistill.experiments.trials import Trainer
from kerasdistill.experiments.watch import Watch
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from tuners import record
from tuners.search import Tuner


def run(
    search: Search,
    *,
    data: ImageData,
    stream: Callable[[Any], EpochStream],
    retrain: Callable[[Any], dict[str, Any]],
    workdir: str | Path,
    request: Mapping[str, Any] | None = None,
    teacher_logits: np.ndarray | None = None,
    facts: Mapping[str, Any] | None = None,
    timed: EpochStream | None = None,
) -> dict[str, Any]:
    """Runs the trials that are missing, then publishes the best one.

    Args:
        search: what is asked.
        data: its validation split ranks the trials.
        stream: a recipe's training data.
        retrain: trains a recipe as without a search, and gives its results.
        workdir: where the search's folder goes, unless it has a place of its own.
        request: what else is part of the search's identity.
        teacher_logits: the teacher's on the validation images, [N, classes].
        facts: further fields of the results.
        timed: the training data to plan by, where they can't be a trial's.

    Returns:
        The content of `results.json`: what a run of this kind has, and the search's
        `trials`, `best`, `fifth_best`, `mean_of_five_best` and `best_recipe`. A
        worker's: `search`, `worker` and how many `trials` it ended.
    """
    seen, logits = asking.objective(search, data, teacher_logits)
    trainer = Trainer(
        kind=search.kind,
        space=search.space,
        finish=search.finish,
        stream=stream,
        data=seen,
        teacher_logits=logits,
        prune=search.prune,
    )
    identity = asking.identity(search, data, request or {})
    if search.folder is None:
        folder = RunDirectory.open(workdir, f"{search.kind}-search", identity)
    else:
        folder = RunDirectory(Path(search.folder), identity)
    if search.worker is not None:
        return crew.work(
            asking.oracle(search),
            folder,
            address=search.chief,
            worker=search.worker,
            train=lambda point, place, check: trials.run(
                dataclasses.replace(trainer, check=check), point, place
            ),
        )
    with folder:
        found = folder.results()
        if found is None or found["max_trials"] < search.max_trials:
            step = _announced(search, trainer, folder, timed)
            began = time.monotonic()
            run_trials(search, trainer, folder)
            found = outcome.published(search, folder, data=data, logits=teacher_logits)
            told = plans.tell(step, since=began)
            found = folder.finish({**found, **told, **(facts or {})})
        if search.seeds:
            best = base.from_json(found["recipe"])
            found = folder.finish(
                {**found, "seeds": outcome.again(search, best, retrain)}
            )
        return {**found, "search": str(folder.path)}


def run_trials(search: Search, trainer: Trainer, folder: RunDirectory) -> None:
    """Asks the oracle for trials, and trains them or has them trained, until there
    are no more.

    Raises:
        UserError: none of the trials came to a score.
    """
    oracle = asking.oracle(search)
    watch = Watch(
        folder.path,
        space=search.space,
        oracle=search.oracle,
        seed=search.seed,
        max_trials=search.max_trials,
        keep_all=search.kind == TEACHER,
    )
    if search.chief is not None:
        crew.lead(
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


def _announced(
    search: Search, trainer: Trainer, folder: RunDirectory, timed: EpochStream | None
) -> plans.Step:
    left = search.max_trials - len(record.trials(folder.path))
    name = f"{left} of {search.max_trials} trials"
    if left <= 0 or search.chief is not None:  # workers' speed is not known here
        return plans.Step(name, None)
    recipe, data = search.middle, trainer.data
    if search.objective_views is not None:
        # Only how many there are is looked at.
        few = data.train.take(np.arange(search.objective_views))
        data = dataclasses.replace(data, train=few)
    stream = timed or trainer.stream(recipe)
    one = costs.plan_training(name, recipe, stream=stream, data=data, run=None)
    # A model is a seventh of a training's files; the rest goes when it has ended.
    kept = left if search.kind == TEACHER else 2
    num_bytes = one.num_bytes + kept * one.num_bytes // 7
    step = dataclasses.replace(one, seconds=left * one.seconds, num_bytes=num_bytes)
    plans.announce(plans.Plan((step,)), workdir=folder.path)
    return step
