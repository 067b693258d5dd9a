"""Functions of a student's six hyperparameters that stand for real trainings.

Fitted on a table of trainings (`--table`): places in [0, 1] and validation accuracies.
Two kinds, since what a surrogate is made of favours whoever assumes the same.
"""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import GroupKFold, cross_val_predict

from tuners.space import Space

VALIDATION = 4_000  # images: what is measured has their sampling error, too
LOW_NOISE, HIGH_NOISE = 0.005, 0.033  # of one recipe's trainings, as the repeats show
UNSTABLE = 0.05, 0.15  # effective rates between which it rises


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """The expected accuracy at places [M, 6] of the unit cube, and its correlation with
    held-out trainings."""

    name: str
    mean: Callable[[np.ndarray], np.ndarray]
    correlation: float
    space: Space

    def training(
        self, place: np.ndarray, generator: np.random.Generator
    ) -> tuple[float, float, float]:
        """One training at a place [6]: expected accuracy, the trained model's, and what
        validation says of it."""
        expected = float(self.mean(place[None])[0])
        rate = effective_rate(self.space, place[None])[0]
        low, high = np.log(UNSTABLE)
        share = np.clip((np.log(rate) - low) / (high - low), 0, 1)
        noise = LOW_NOISE + (HIGH_NOISE - LOW_NOISE) * share
        normal = generator.normal(size=2)
        model = float(np.clip(expected + noise * normal[0], 0.05, 0.95))
        sampling = np.sqrt(model * (1 - model) / VALIDATION)
        return expected, model, model + sampling * normal[1]


def effective_rate(space: Space, places: np.ndarray) -> np.ndarray:
    """rate / (1 - momentum) at places [M, 6]; [M]."""
    ends = {d.name: np.log([d.low, d.high]) for d in space.dimensions if d.log}
    rate, momentum = (
        np.exp(ends[name] @ np.stack([1 - places[:, n], places[:, n]]))
        for n, name in enumerate(("learning_rate", "momentum"))
    )
    return rate / (1 - momentum)


def load(table: Path, space: Space) -> list[Surrogate]:
    """Boosted trees that see the effective rate, a Gaussian process that does not."""
    names = [f"u_{d.name}" for d in space.dimensions]
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["ok"] == "True"]
    places = np.array([[float(row[name]) for name in names] for row in rows])
    scores = np.array([float(row["acc"]) for row in rows])
    recipes = [row["index"] for row in rows]

    def with_rate(places: np.ndarray) -> np.ndarray:
        rate = np.log(effective_rate(space, places))
        return np.concatenate([places, rate[:, None]], axis=1)

    def plain(places: np.ndarray) -> np.ndarray:
        return places

    kernel = ConstantKernel() * Matern(np.ones(6), nu=2.5) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True)
    trees = GradientBoostingRegressor(
        n_estimators=300, learning_rate=0.05, subsample=0.7, random_state=0
    )
    found = []
    for name, model, features in (
        ("boosted trees, effective rate", trees, with_rate),
        ("Gaussian process, plain", process, plain),
    ):
        x = features(places)
        # A recipe's repeats stay on one side.
        how = {"groups": recipes, "cv": GroupKFold(10)}
        predicted = cross_val_predict(model, x, scores, **how)
        correlation = float(np.corrcoef(predicted, scores)[0, 1])
        fitted = model.fit(x, scores)
        mean = _predictor(fitted, features)
        found.append(Surrogate(name, mean, correlation, space))
    return found


def _predictor(model, features) -> Callable[[np.ndarray], np.ndarray]:
    return lambda places: model.predict(features(places))
