"""What `oracle.py` and `real_search.py` compare: test functions on the unit cube, and
searchers of one form, `ask` for a point and `tell` its value. A peer is imported when
it is made."""

import contextlib
import dataclasses
import io
import itertools
import tempfile
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.stats


class Searcher(Protocol):
    """Proposes points of the unit cube and is told their values, to be minimised."""

    def ask(self) -> np.ndarray: ...

    def tell(self, value: float) -> None: ...

    def seen(self, points: np.ndarray, values: np.ndarray) -> None: ...


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function on [0, 1]^dimensions, its smallest value and a number of trials."""

    function: Callable[[np.ndarray], float]
    dimensions: int
    smallest: float
    trials: int


HARTMANN_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann6(x: np.ndarray) -> float:
    """Hartmann's function of six variables."""
    inner = np.sum(HARTMANN_A * (x - HARTMANN_P) ** 2, axis=1)
    return float(-np.exp(-inner) @ [1.0, 1.2, 3.0, 3.2])


def hidden_hartmann6(x: np.ndarray) -> float:
    """Every third of 18 variables counts."""
    return hartmann6(x[::3])


def branin(x: np.ndarray) -> float:
    """Branin's function of two variables on [-5, 10] x [0, 15]."""
    a, b = 15 * x[0] - 5, 15 * x[1]
    bowl = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return float(bowl**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def levy(x: np.ndarray) -> float:
    """Levy's function on [-10, 10]^d."""
    w = 1 + (20 * x - 11) / 4
    waves = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + waves.sum() + last)


PROBLEMS = {
    "Hartmann-6": Problem(hartmann6, 6, -3.32237, 50),
    "Branin": Problem(branin, 2, 0.397887, 30),
    "Levy-10": Problem(levy, 10, 0.0, 50),
    "Hartmann-6 in 18": Problem(hidden_hartmann6, 18, -3.32237, 70),
}


class KerasTunerSearcher:
    """An oracle of KerasTuner's kind, without a Tuner.

    `space` gives floats other names and scales than those of the unit cube.
    """

    def __init__(
        self, make: Callable, *, dimensions: int, seed: int, space: Any = None
    ) -> None:
        import keras_tuner

        if space is None:
            space = keras_tuner.HyperParameters()
            for index in range(dimensions):
                space.Float(f"x{index}", 0.0, 1.0)
        self._kinds = {kind.name: kind for kind in space.space}
        self._oracle = make(
            objective=keras_tuner.Objective("loss", "min"),
            max_trials=10_000,
            hyperparameters=space,
            seed=seed,
        )
        self._folder = tempfile.TemporaryDirectory()
        self._oracle._set_project_dir(self._folder.name, "search")
        self._oracle.verbose = 0
        self._trial = None

    def ask(self) -> np.ndarray:
        self._trial = self._oracle.create_trial("worker")
        values = self._trial.hyperparameters.values
        places = [self._kinds[name].value_to_prob(values[name]) for name in self._kinds]
        return np.clip(places, 0.0, 1.0)

    def tell(self, value: float) -> None:
        self._oracle.update_trial(self._trial.trial_id, {"loss": value})
        self._trial.status = "COMPLETED"
        self._oracle.end_trial(self._trial)

    def seen(self, points: np.ndarray, values: np.ndarray) -> None:
        """Takes these trials as finished, whoever proposed them."""
        rows = iter(zip(points, values, strict=True))
        propose = self._oracle.populate_space
        for point, value in rows:
            given = {
                name: kind.prob_to_value(float(place))
                for (name, kind), place in zip(self._kinds.items(), point, strict=True)
            }
            self._oracle.populate_space = lambda _, given=given: {
                "status": "RUNNING",
                "values": given,
            }
            self.ask()
            self.tell(value)
        self._oracle.populate_space = propose


class OptunaSearcher:
    """Optuna's GPSampler, or another of its samplers, with its defaults."""

    def __init__(
        self, *, dimensions: int, seed: int, sampler: str = "GPSampler"
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._space = {
            f"x{index}": optuna.distributions.FloatDistribution(0.0, 1.0)
            for index in range(dimensions)
        }
        make = getattr(optuna.samplers, sampler)
        self._study = optuna.create_study(sampler=make(seed=seed))
        self._trial = None

    def ask(self) -> np.ndarray:
        self._trial = self._study.ask(self._space)
        return np.array([self._trial.params[name] for name in self._space])

    def tell(self, value: float) -> None:
        self._study.tell(self._trial, value)

    def seen(self, points: np.ndarray, values: np.ndarray) -> None:
        for point, value in zip(points, values, strict=True):
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    params=dict(zip(self._space, map(float, point), strict=True)),
                    distributions=self._space,
                    value=float(value),
                )
            )


class HeboSearcher:
    """HEBO with its defaults."""

    def __init__(self, *, dimensions: int, seed: int) -> None:
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.manual_seed(seed)
        np.random.seed(seed)
        names = [f"x{index}" for index in range(dimensions)]
        space = [{"name": name, "type": "num", "lb": 0, "ub": 1} for name in names]
        self._hebo = HEBO(DesignSpace().parse(space), scramble_seed=seed)
        self._asked = None

    def ask(self) -> np.ndarray:
        self._asked = self._hebo.suggest(1)
        return self._asked.to_numpy(float)[0]

    def tell(self, value: float) -> None:
        self._hebo.observe(self._asked, np.array([[value]]))


class Points:
    """Uniform points, or those of a scrambled Sobol sequence."""

    def __init__(self, *, dimensions: int, seed: int, sobol: bool) -> None:
        made = np.random.default_rng(seed).random((1024, dimensions))
        if sobol:
            made = scipy.stats.qmc.Sobol(dimensions, rng=seed).random(1024)
        self._rows = iter(made)

    def ask(self) -> np.ndarray:
        return next(self._rows)

    def tell(self, value: float) -> None:
        pass


def ours(*, dimensions: int, seed: int) -> Searcher:
    from tuners import GaussianProcessOracle

    return KerasTunerSearcher(GaussianProcessOracle, dimensions=dimensions, seed=seed)


def stock(*, dimensions: int, seed: int) -> Searcher:
    from keras_tuner.oracles import BayesianOptimizationOracle

    return KerasTunerSearcher(
        BayesianOptimizationOracle, dimensions=dimensions, seed=seed
    )


SEARCHERS = {"ours": ours, "keras-tuner": stock, "optuna": OptunaSearcher}


def regret(name: str, problem: Problem, *, seed: int) -> float:
    """Best value found in the problem's trials, less the smallest there is."""
    best = np.inf
    with contextlib.redirect_stdout(io.StringIO()):
        searcher = SEARCHERS[name](dimensions=problem.dimensions, seed=seed)
        for _ in itertools.repeat(None, problem.trials):
            value = problem.function(searcher.ask())
            searcher.tell(value)
            best = min(best, value)
    return best - problem.smallest
