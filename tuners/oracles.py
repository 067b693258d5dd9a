"""The oracles that a search can use, by name."""

import functools
import sys
import warnings
from collections.abc import Callable

import keras_tuner
import numpy as np

from kerasdistill import packages
from kerasdistill.errors import UserError
from kerasdistill.seeds import derive_seed
from tuners.durable import Durable
from tuners.oracle import GaussianProcessOracle

OBJECTIVE = "val_accuracy"


class _Random(Durable, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Stock(Durable, keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's own, whose random state is not among what it saves."""

    def __init__(self, *args, **kwargs):
        packages.require("sklearn", by="KerasTuner's oracle")
        super().__init__(*args, **kwargs)

    def populate_space(self, trial_id):
        from sklearn.exceptions import ConvergenceWarning

        # A random state that depends on the trial alone.
        seed = derive_seed(self.seed, len(self.trials))
        self._random_state = np.random.RandomState(seed)
        with warnings.catch_warnings():
            # Of its one length scale, which runs into its bound on flat data.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


# The sequence that a search by the Gaussian process begins with, without an end.
_sobol = functools.partial(GaussianProcessOracle, num_initial_points=sys.maxsize)

ORACLES: dict[str, Callable[..., keras_tuner.Oracle]] = {
    "gp": GaussianProcessOracle,
    "kerastuner": _Stock,
    "random": _Random,
    "sobol": _sobol,
}


def make(
    name: str,
    *,
    hyperparameters: keras_tuner.HyperParameters,
    max_trials: int,
    seed: int,
    effective_rate: tuple[str, str] | None = None,
) -> keras_tuner.Oracle:
    """The oracle called `name`, a key of `ORACLES`; it maximises validation accuracy.

    `max_trials` counts trials of earlier calls too. `effective_rate` is what
    `GaussianProcessOracle` says, which also models what `sobol` found; the others
    have no use for it.

    Raises:
        UserError: no oracle of that name.
    """
    if name not in ORACLES:
        raise UserError(f"oracle {name!r} is unknown; expected {', '.join(ORACLES)}")
    modelled = name in ("gp", "sobol")
    own = {"effective_rate": effective_rate} if modelled else {}
    oracle = ORACLES[name](
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        max_trials=max_trials,
        hyperparameters=hyperparameters,
        # Not the bare seed: KerasTuner takes 0 for "none given".
        seed=1 + derive_seed(seed, "oracle") % (2**31 - 2),
        # It would raise while it holds its lock, before it has saved anything; a
        # search that finds nothing at all is stopped by `search.Tuner`.
        max_consecutive_failed_trials=None,
        **own,
    )
    oracle.verbose = 0
    return oracle
