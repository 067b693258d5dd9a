"""What a search looks for, and what its trials may see."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.recipes import base
from kerasdistill.seeds import permutation
from pipelines.datasets import ImageData
from tuners import cluster, oracles
from tuners.durable import Durable
from tuners.space import Space, Values


@dataclass(frozen=True)
class Search:
    """What a search looks for.

    `family` names what the space was made for (budget, shape, kernel); `finish` puts
    the shared training options into a recipe. `max_trials` counts those of earlier
    calls too, so a greater number goes on. With `prune` a trial ends where `halving`
    finds it hopeless. `objective_views` and `objective_images` shrink an epoch and the
    validation split while trials are compared. `seeds` is how often the best recipe is
    trained again afterwards, from other seeds. `folder` is where it all goes, by
    default a name made of the request. With `chief`, HOST:PORT, the process gives its
    trials to workers, which are those with a name in `worker`; it takes one that is
    unheard for `worker_timeout` seconds for dead. `older_space` is what an older rule
    made of the same request: if only a search of that one has begun, it goes on.
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
    older_space: Space | None = None

    @property
    def middle(self) -> Any:
        """The recipe at the centre of the space."""
        return self.recipe(self.space.middle)

    @property
    def older(self) -> "Search | None":
        """The search that an older rule made of the same request."""
        if self.older_space is None:
            return None
        return dataclasses.replace(self, space=self.older_space, older_space=None)

    @property
    def keeps_models(self) -> bool:
        """Whether all trials' models are kept, for an ensemble, or only the best."""
        return self.kind == "teacher"

    def recipe(self, point: Values) -> Any:
        """The recipe of a point that names the space's free dimensions."""
        return self.finish(self.space.recipe(point))


def oracle(search: Search) -> Durable:
    """What proposes its trials."""
    return oracles.make(
        search.oracle,
        hyperparameters=search.space.hyperparameters(),
        max_trials=search.max_trials,
        seed=search.seed,
        effective_rate=search.space.effective_rate,
    )


def objective(
    search: Search, data: ImageData, logits: np.ndarray | None
) -> tuple[ImageData, np.ndarray | None]:
    """What trials may see: no test data, and of validation as much as is asked."""
    if not data.labelled:
        raise UserError(
            f"a search ranks by validation accuracy, but {data.name} has no labels; "
            "leave out `max_trials`"
        )
    views, images = search.objective_views, search.objective_images
    if views is not None and search.middle.training.epochs is None:
        raise UserError("`objective_views` cuts epochs; say how many with `epochs=N`")
    for option, wanted, there in (
        ("`objective_views`", views, len(data.train)),
        ("`objective_images`", images, len(data.validation)),
    ):
        if wanted is not None and wanted > there:
            raise UserError(f"{option} is {wanted}, but {data.name} has {there}")
    order = permutation(len(data.validation), data.split_seed, "objective")
    chosen = np.sort(order[:images])
    splits = {"validation": data.validation.take(chosen)}
    splits["test"] = data.test.take(np.arange(0))
    seen = dataclasses.replace(data, **splits)
    return seen, None if logits is None else logits[chosen]


def identity(
    search: Search, data: ImageData, request: Mapping[str, Any]
) -> dict[str, Any]:
    """The search's request; `request` is what else its trials train on."""
    same = ("oracle", "seed", "prune", "objective_views", "objective_images")
    return {
        "family": dict(search.family),
        "dataset": data.identity(),
        **request,
        "space": search.space.to_json(),
        "recipe": search.middle,
        **{name: getattr(search, name) for name in same},
    }
