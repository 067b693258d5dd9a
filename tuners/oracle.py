"""Bayesian search for KerasTuner: a Gaussian process and expected improvement.

What Spearmint had (Snoek, Larochelle & Adams 2012) and KerasTuner's own oracle lacks:
a length scale for each hyperparameter, learned noise, both integrated over, expected
improvement. A proposal is a function of the seed and the trials so far, so that a
search that was interrupted goes on as if it had not been.
"""

import dataclasses
from typing import Any

import numpy as np
import scipy.stats
from keras_tuner.engine import trial as trials
from threadpoolctl import threadpool_limits

from kerasdistill.seeds import derive_seed
from tuners import acquisition, gaussian_process, inference
from tuners.belief import Belief, belief_of
from tuners.cube import Cube
from tuners.durable import Durable

SOBOL_BITS = 10  # points of the start's sequence that are tried before it is given up
FEWEST_BELIEVED = 5  # trials with a score


def one_thread() -> threadpool_limits:
    """Linear algebra on one thread: faster on small matrices, and to the last bit the
    same on every number of cores."""
    return threadpool_limits(limits=1, user_api="blas")


class GaussianProcessOracle(Durable):
    """Proposes where the expected improvement is largest.

    Args:
        objective, max_trials and further options: those of KerasTuner's `Oracle`.
        seed: int; 0 is a seed like any other, None draws one.
        num_initial_points: how many trials of a scrambled Sobol sequence come first.
            Fewer serve smooth functions a little better, but leave more of a noisy
            one, such as a training, unseen. Until two trials have ended, the sequence
            goes on.
        effective_rate: the names of a learning rate and of its momentum, two floats
            without steps. The model then sees log(rate / (1 - momentum)) in the place
            of the momentum, on which trainings depend more evenly; what is proposed
            and stored stays a momentum. While one of the two is not searched, nothing
            changes. An oracle that is reloaded goes on as its search began.

    Trials that still run are taken to end as the model expects, so that workers get
    different points. Failed trials, and those whose score is not finite, count as
    being as bad as the worst.
    """

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = None,
        *,
        seed: int | None = None,
        num_initial_points: int = 8,
        effective_rate: tuple[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(objective, max_trials, seed=seed, **options)
        if seed is not None:  # KerasTuner reads 0 as None
            self.seed = self._seed_state = seed
        self.num_initial_points = num_initial_points
        self.effective_rate = effective_rate
        self._latest: tuple[tuple, gaussian_process.GaussianProcess] | None = None
        self._cube()  # refuses names that can't be meant

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next trial's status and values, in KerasTuner's form."""
        cube = self._cube()
        positions, scores, pending = self._history(cube)
        started = len(self.trials)
        if not cube.axes:
            rows = np.empty((1, 0))
        elif started < self.num_initial_points or np.isfinite(scores).sum() < 2:
            rows = self._start(cube)
        else:
            with one_thread():
                rows = self._informed(cube, positions, scores, pending)
        for row in rows:
            values = cube.values(row)
            if not self._duplicate(values):
                return {"status": trials.TrialStatus.RUNNING, "values": values}
        return {"status": trials.TrialStatus.STOPPED, "values": None}

    def length_scales(self) -> dict[str, float]:
        """The length scale of each hyperparameter with more than one value, typical of
        the samples, in units of its range (on its own scale); small ones matter most.

        An effective rate stands there as "rate/(1-momentum)", with the names of the
        two, instead of the momentum. Empty before two trials have ended well. Where
        conditions let several hyperparameters share a name, the smallest of theirs.
        """
        cube = self._cube()
        positions, scores, _ = self._history(cube)
        if np.isfinite(scores).sum() < 2 or not cube.groups.size:
            return {}
        with one_thread():
            model = self._model(cube, positions, scores)
        lengths = model.hyperparameters.typical_length_scales
        smallest: dict[str, float] = {}
        for group, name in enumerate(cube.names):
            length = float(lengths[np.argmax(cube.groups == group)])
            smallest[name] = min(length, smallest.get(name, np.inf))
        return smallest

    def belief(self) -> tuple[str, Belief] | None:
        """The id of the trial that the model takes for the best, and what else it
        believes; in the objective's own direction. None before there are five trials
        that differ."""
        cube = self._cube()
        positions, scores, _ = self._history(cube)
        good = np.isfinite(scores)
        if good.sum() < FEWEST_BELIEVED or not cube.groups.size:
            return None
        if np.ptp(scores[good]) == 0:
            return None
        with one_thread():
            model = self._model(cube, positions, scores)
            scores = np.where(good, scores, np.nanmax(scores))
            found = belief_of(model, cube, scores, failed=~good)
        ended = [name for name in sorted(self.trials) if name in self.end_order]
        if self.objective.direction == "max":
            ends = {end: -getattr(found, end) for end in ("mean", "best", "worst")}
            found = dataclasses.replace(found, **ends)
        return ended[found.place], found

    def get_state(self) -> dict[str, Any]:
        own = {"num_initial_points": self.num_initial_points}
        if self.effective_rate is not None:
            own["effective_rate"] = list(self.effective_rate)
        return {**super().get_state(), **own}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.num_initial_points = state["num_initial_points"]
        # Searches that began before there was one have none.
        names = state.get("effective_rate")
        self.effective_rate = None if names is None else tuple(names)

    def _cube(self) -> Cube:
        return Cube.of(self.hyperparameters, effective_rate=self.effective_rate)

    def _history(self, cube: Cube) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions [N, A] and scores [N] of ended trials, positions [P, A] of others.

        Scores are to be minimised; NaN where a trial failed.
        """
        ended, scores, pending = [], [], []
        sign = -1.0 if self.objective.direction == "max" else 1.0
        # By id: a reload finds the files in any order.
        for trial_id, trial in sorted(self.trials.items()):
            values = trial.hyperparameters.values
            if trial_id not in self.end_order:
                pending.append(values)
                continue
            good = trial.status == trials.TrialStatus.COMPLETED
            good = good and trial.score is not None and np.isfinite(trial.score)
            ended.append(values)
            scores.append(sign * trial.score if good else np.nan)
        return cube.positions(ended), np.array(scores), cube.positions(pending)

    def _start(self, cube: Cube) -> np.ndarray:
        """A scrambled Sobol sequence, from the point whose turn it is; [K, A]."""
        seed = derive_seed(self.seed, "start")
        sequence = scipy.stats.qmc.Sobol(len(cube.axes), rng=seed)
        bits = max(SOBOL_BITS, 1 + len(self.trials).bit_length())
        rows = cube.snap(sequence.random_base2(bits))
        return np.roll(rows, -len(self.trials), axis=0)

    def _model(
        self, cube: Cube, positions: np.ndarray, scores: np.ndarray
    ) -> gaussian_process.GaussianProcess:
        scores = np.where(np.isfinite(scores), scores, np.nanmax(scores))
        columns = cube.columns(positions)
        seed = derive_seed(self.seed, "hyperparameters", len(self.trials))
        # Tables ask for length scales when a trial has ended: the next proposal is of
        # the same model, unless other trials still run.
        made_of = (columns.shape, columns.tobytes(), scores.tobytes(), seed)
        if self._latest is None or self._latest[0] != made_of:
            values = gaussian_process.standardised(scores)
            how = {"groups": cube.groups, "seed": seed}
            self._latest = made_of, inference.fit(columns, values, **how)
        return self._latest[1]

    def _informed(
        self, cube: Cube, positions: np.ndarray, scores: np.ndarray, pending: np.ndarray
    ) -> np.ndarray:
        """Positions [K, A] by expected improvement, then a grid if all were tried."""
        if not cube.groups.size:
            return cube.snap(np.full((1, len(cube.axes)), 0.5))
        model = self._model(cube, positions, scores)
        order = np.argsort(scores, kind="stable")  # failures, NaN, come last
        if len(pending):
            model = model.believing(cube.columns(pending))
        rows = acquisition.proposals(
            model,
            cube,
            positions[order[: acquisition.INCUMBENTS]],
            seed=derive_seed(self.seed, "proposal", len(self.trials)),
        )
        return np.concatenate([rows, self._start(cube)])
