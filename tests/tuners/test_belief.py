"""What a search says its model believes: in the objective's units, and who matters."""

import math
from pathlib import Path

import keras_tuner
import numpy as np
import pytest

from kerasdistill.experiments.search.tables import believed
from tuners import GaussianProcessOracle
from tuners.belief import Belief


def told(
    folder: Path, measure, *, trials: int, direction: str = "max"
) -> GaussianProcessOracle:
    """An oracle that knows so many trials of `measure`."""
    space = keras_tuner.HyperParameters()
    for name in ("a", "b", "c"):
        space.Float(name, 0.0, 1.0)
    oracle = GaussianProcessOracle(
        objective=keras_tuner.Objective("score", direction),
        hyperparameters=space,
        num_initial_points=99,
        seed=0,
        max_consecutive_failed_trials=99,
    )
    oracle._set_project_dir(str(folder), "search")
    oracle.verbose = 0
    for _ in range(trials):
        trial = oracle.create_trial("worker")
        score = measure(trial.hyperparameters.values)
        trial.status = "FAILED"
        if not math.isnan(score):
            oracle.update_trial(trial.trial_id, {"score": score})
            trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return oracle


def hill(values: dict[str, float]) -> float:
    """Highest, 0.8, at a = 0.6; b counts little and c nothing."""
    return 0.8 - 2 * (values["a"] - 0.6) ** 2 - 0.2 * (values["b"] - 0.5) ** 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_is_in_the_objectives_units(tmp_path: Path, sign: float) -> None:
    direction = "max" if sign > 0 else "min"
    oracle = told(tmp_path, lambda v: sign * hill(v), trials=20, direction=direction)
    trial_id, belief = oracle.belief()
    assert trial_id == oracle.get_best_trials()[0].trial_id
    score = oracle.trials[trial_id].score
    assert belief.mean == pytest.approx(score, abs=0.03)
    assert sign * belief.worst < sign * score < sign * belief.best
    assert abs(belief.best - belief.worst) < 0.15
    assert [*belief.shares] == ["a", "b", "c"]
    assert belief.shares["a"] > 0.8 and sum(belief.shares.values()) == pytest.approx(1)


def test_luck_is_not_taken_for_merit(tmp_path: Path) -> None:
    """The best of noisy measurements is too good; what is believed is less so."""
    too_good = {"measured": [], "believed": []}
    for seed in range(3):
        generator = np.random.default_rng(seed)
        oracle = told(
            tmp_path / str(seed),
            lambda v, g=generator: hill(v) + g.normal(scale=0.03),
            trials=20,
        )
        best = oracle.get_best_trials()[0]
        too_good["measured"].append(best.score - hill(best.hyperparameters.values))
        trial_id, belief = oracle.belief()
        truth = hill(oracle.trials[trial_id].hyperparameters.values)
        too_good["believed"].append(belief.mean - truth)
    assert np.mean(too_good["believed"]) < 0.7 * np.mean(too_good["measured"])


def test_a_failed_trial_is_not_believed_to_be_best(tmp_path: Path) -> None:
    oracle = told(tmp_path, lambda v: math.nan if v["a"] > 0.5 else hill(v), trials=20)
    trial_id, _ = oracle.belief()
    assert oracle.trials[trial_id].status == "COMPLETED"


@pytest.mark.parametrize(
    ("measure", "trials"),
    [(hill, 4), (lambda _: 0.1, 9), (lambda _: math.nan, 6), (hill, 0)],
)
def test_there_is_none_without_trials_that_differ(tmp_path, measure, trials) -> None:
    oracle = told(tmp_path, measure, trials=trials)
    assert oracle.belief() is None


def test_it_is_said_in_plain_words() -> None:
    shares = {"learning_rate/(1-momentum)": 0.7, "c1": 0.27, "c2": 0.03}
    belief = Belief(0, mean=0.4789, best=0.49, worst=0.4672, shares=shares)
    first, second = believed(belief, number=17, measured=0.487)
    for part in ("trial 17", "47.9 %", "46.7 to 49.0", "48.7 %"):
        assert part in first
    assert second.endswith("learning_rate/(1-momentum) (70%), c1 (27%); hardly c2")
