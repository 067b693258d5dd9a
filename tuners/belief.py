"""What a model of trials believes: which is best, how good it is, and what matters."""

import dataclasses

import numpy as np

from tuners.cube import Cube
from tuners.gaussian_process import GaussianProcess

ROWS = 128  # random points at which shares are estimated
WITHIN = 1.96  # standard deviations, for 95 %


@dataclasses.dataclass(frozen=True)
class Belief:
    """The trial with the best posterior mean, by its place among those the model has
    seen; what the other trials predict of it, with 95 % limits, in the objective's
    units; and each dimension's share of what differs between points, largest first,
    together 1.

    The trial's own value is left out of what is predicted: it is the best partly by
    luck, and limits around it would miss what the point is worth every other time.
    """

    place: int
    mean: float
    best: float
    worst: float
    shares: dict[str, float]


def belief_of(
    model: GaussianProcess, cube: Cube, scores: np.ndarray, *, failed: np.ndarray
) -> Belief:
    """Of a model of `standardised` scores [N], which are to be minimised; `failed`
    ones, bool [N], can't be the best."""
    means = model.posterior(model.points)[0].mean(0)
    place = int(np.argmin(np.where(failed, np.inf, means)))
    mean, variance = model.without(place)
    deviation = np.sqrt(variance.mean() + mean.var())
    ends = mean.mean() + WITHIN * deviation * np.array([0.0, -1.0, 1.0])
    middle, best, worst = _in_units(ends, model.values[0], scores)
    return Belief(place, middle, best, worst, _shares(model, cube))


def _in_units(at: np.ndarray, warped: np.ndarray, scores: np.ndarray) -> list[float]:
    """Standardised values in the units of the scores they were made of; where none was
    as good, along the line through the better quarter."""
    order = np.argsort(warped)
    warped, scores = warped[order], scores[order]
    quarter = np.searchsorted(warped, np.quantile(warped, 0.25))
    last = max(1, int(quarter))
    slope = (scores[last] - scores[0]) / max(warped[last] - warped[0], 1e-9)
    beyond = np.minimum(at - warped[0], 0.0)
    return (np.interp(at, warped, scores) + slope * beyond).tolist()


def _shares(model: GaussianProcess, cube: Cube) -> dict[str, float]:
    """Total effects (Jansen 1999) on the posterior mean: how much it changes where a
    dimension alone is drawn anew."""
    generator = np.random.default_rng(0)
    first, other = (
        cube.columns(cube.snap(generator.random((ROWS, len(cube.axes)))))
        for _ in range(2)
    )
    base, effects = model.posterior(first)[0].mean(0), {}
    for group, name in enumerate(cube.names):
        changed = np.where(cube.groups == group, other, first)
        moved = model.posterior(changed)[0].mean(0)
        effects[name] = effects.get(name, 0.0) + float(np.mean((moved - base) ** 2))
    total = sum(effects.values()) or 1.0
    ranked = sorted(effects.items(), key=lambda item: -item[1])
    return {name: effect / total for name, effect in ranked}
