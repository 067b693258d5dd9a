"""Bayesian search among recipes of one family (fact sheets A4, A5, A9, A11).

Trials are ranked by validation accuracy. Test data are scored once, at the very end,
by the best trial's model, which is published as any other run's; nothing is retrained.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.experiments import costs, crew, plans, training, trials
from kerasdistill.experiments.trials import Trainer
from kerasdistill.experiments.watch import Watch
from kerasdistill.files import write_json_atomic
from kerasdistill.models import loading
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import permutation
from kerasdistill.training.epochs import EpochStream, FitResult
from pipelines.datasets import ImageData
from tuners import cluster, oracles, record
from tuners.durable import Durable
from tuners.oracles import OBJECTIVE
from tuners.search import Tuner
from tuners.space import Space

TEACHER = "teacher"  # the kind whose models are all kept, for an ensemble
BEST = 5  # Figure 1 shows the mean of a search's five best, and the fifth
BEST_RECIPE = "best_recipe.json"


@dataclass(frozen=True)
class Search:
    """What is asked of a search.

    `family` names what the space was made for (budget, shape, kernel); `finish` puts
    the shared training options into a recipe. `max_trials` counts those of earlier
    calls too, so a greater number goes on. `objective_views` and `objective_images`
    shrink an epoch and the validation split while trials are compared. `seeds` is how
    often the best recipe is trained again afterwards, from other seeds. `folder` is
    where it all goes, by default a name made of the request. With `chief`, HOST:PORT,
    the process gives its trials to workers, which are those with a name in `worker`;
    it takes one that is unheard for `worker_timeout` seconds for dead.
    """

    kind: str
    space: Space
    finish: Callable[[base.Recipe], Any]
    family: Mapping[str, Any]
    max_trials: int
    oracle: str = "gp"
    seed: int = 0
    prune: bool = False
    seeds: int = 0
    objective_views: int | None = None
    objective_images: int | None = None
    folder: str | None = None
    chief: str | None = None
    worker: str | None = None
    worker_timeout: float = cluster.WORKER_TIMEOUT

    @property
    def middle(self) -> Any:
        """The recipe at the centre of the space."""
        return self.finish(self.space.recipe(self.space.middle))


def run(
    search: Search,
    *,
    data: ImageData,
    build: Callable[..., keras.Model],
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
        build: the kind's model.
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
    seen, logits = _objective(search, data, teacher_logits)
    trainer = Trainer(
        kind=search.kind,
        build=build,
        space=search.space,
        finish=search.finish,
        stream=stream,
        data=seen,
        teacher_logits=logits,
        prune=search.prune,
    )
    identity = _identity(search, data, request or {})
    if search.folder is None:
        folder = RunDirectory.open(workdir, f"{search.kind}-search", identity)
    else:
        folder = RunDirectory(Path(search.folder), identity)
    if search.worker is not None:
        return crew.work(
            _oracle(search),
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
            found = _published(search, folder, data=data, logits=teacher_logits)
            told = plans.tell(step, since=began)
            found = folder.finish({**found, **told, **(facts or {})})
        if search.seeds:
            best = base.from_json(found["recipe"])
            found = folder.finish({**found, "seeds": _again(search, best, retrain)})
        return {**found, "search": str(folder.path)}


def run_trials(search: Search, trainer: Trainer, folder: RunDirectory) -> None:
    """Asks the oracle for trials, and trains them or has them trained, until there
    are no more.

    Raises:
        UserError: none of the trials came to a score.
    """
    oracle = _oracle(search)
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


def _oracle(search: Search) -> Durable:
    return oracles.make(
        search.oracle,
        hyperparameters=search.space.hyperparameters(),
        max_trials=search.max_trials,
        seed=search.seed,
    )


def _objective(
    search: Search, data: ImageData, logits: np.ndarray | None
) -> tuple[ImageData, np.ndarray | None]:
    """What trials may see: no test data, and of validation as much as is asked."""
    if not data.labelled:
        raise UserError(
            f"a search ranks by validation accuracy, but {data.name} has no labels; "
            "leave out --trials"
        )
    views, images = search.objective_views, search.objective_images
    if views is not None and search.middle.training.epochs is None:
        raise UserError("--objective-views cuts epochs; say how many with --epochs N")
    for option, asked, there in (
        ("--objective-views", views, len(data.train)),
        ("--objective-images", images, len(data.validation)),
    ):
        if asked is not None and asked > there:
            raise UserError(f"{option} is {asked}, but {data.name} has {there}")
    order = permutation(len(data.validation), data.split_seed, "objective")
    chosen = np.sort(order[:images])
    seen = dataclasses.replace(
        data,
        validation=data.validation.take(chosen),
        test=data.test.take(np.arange(0)),
    )
    return seen, None if logits is None else logits[chosen]


def _identity(
    search: Search, data: ImageData, request: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "family": dict(search.family),
        "dataset": data.identity(),
        **request,
        "space": search.space.to_json(),
        "recipe": base.to_json(search.middle),
        "oracle": search.oracle,
        "seed": search.seed,
        "prune": search.prune,
        "objective_views": search.objective_views,
        "objective_images": search.objective_images,
    }


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
    one = costs.plan_training(
        name, trainer.build, recipe, stream=stream, data=data, run=None
    )
    # A model is a seventh of a training's files; the rest goes when it has ended.
    kept = left if search.kind == TEACHER else 2
    num_bytes = one.num_bytes + kept * one.num_bytes // 7
    step = dataclasses.replace(one, seconds=left * one.seconds, num_bytes=num_bytes)
    plans.announce(plans.Plan((step,)), workdir=folder.path)
    return step


def _published(
    search: Search, folder: RunDirectory, *, data: ImageData, logits: Any
) -> dict[str, Any]:
    """Scores the best trial's model, on test too, and writes it as a run's."""
    found = record.trials(folder.path)
    ranked = record.ranked(found)
    best, scores = ranked[0], [trial[OBJECTIVE] for trial in ranked[:BEST]]
    recipe = search.finish(search.space.recipe(best["values"]))
    write_json_atomic(folder.path / BEST_RECIPE, base.to_json(recipe))
    fitted = FitResult(
        epochs=best["epochs"],
        best_epoch=best["best_epoch"],
        val_score=best[OBJECTIVE],
        seconds=sum(trial.get("seconds", 0.0) for trial in found),
        images_per_second=best["images_per_second"],
        history=(),
    )
    results = training.publish(
        loading.load(best["folder"] / "model.keras"),
        fitted,
        recipe,
        kind=search.kind,
        data=data,
        run=folder,
        teacher_logits=logits,
    )
    return {
        **results,
        "best_recipe": str(folder.path / BEST_RECIPE),
        "trials_table": str(folder.path / record.JSON),
        "oracle": search.oracle,
        "max_trials": search.max_trials,
        "trials": len(found),
        "failed_trials": len(found) - len(ranked),
        "best_trial": best["number"],
        "best": scores[0],
        "fifth_best": scores[BEST - 1] if len(scores) == BEST else None,
        "mean_of_five_best": statistics.mean(scores) if len(scores) == BEST else None,
    }


def _again(
    search: Search, recipe: Any, retrain: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """The recipe from other seeds than the one the search chose it with."""
    seeds = [recipe.training.seed + number for number in range(1, search.seeds + 1)]
    runs = []
    for seed in seeds:
        settings = dataclasses.replace(recipe.training, seed=seed)
        runs.append(retrain(dataclasses.replace(recipe, training=settings)))
    told: dict[str, Any] = {"seeds": seeds, "results": [r["results"] for r in runs]}
    for name in ("val_accuracy", "test_accuracy"):
        scores = [each[name] for each in runs]
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        told[name] = {"mean": statistics.mean(scores), "sd": spread, "each": scores}
    return told
