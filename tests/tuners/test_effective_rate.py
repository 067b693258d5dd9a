"""What the model sees of a rate and a momentum, and how its gradients come back."""

from pathlib import Path

import keras_tuner
import numpy as np
import pytest
import scipy.optimize
from scipy import stats

from kerasdistill.budget import Budget
from kerasdistill.errors import UserError
from tuners import (
    GaussianProcessOracle,
    acquisition,
    gaussian_process,
    inference,
    oracles,
    spaces,
)
from tuners.cube import Cube

PAIR = ("rate", "mom")
NAME = "rate/(1-mom)"


def space(**momentum: object) -> keras_tuner.HyperParameters:
    """A pair among others, one of which has columns of its own before it."""
    made = keras_tuner.HyperParameters()
    made.Choice("kind", ["a", "b", "c"])
    made.Float("rate", 1e-3, 1e-1, sampling="log")
    made.Float("other", 0.0, 1.0)
    made.Float("mom", 0.5, 0.95, **momentum)
    return made


def make(folder: Path, **options: object) -> GaussianProcessOracle:
    options.setdefault("hyperparameters", space())
    made = GaussianProcessOracle(
        objective=keras_tuner.Objective("score", "min"), seed=0, **options
    )
    made._set_project_dir(str(folder), "search")
    made.verbose = 0
    return made


def distance(values: dict[str, float]) -> float:
    """Of the effective rate from 0.05."""
    return np.log(values["rate"] / (1 - values["mom"]) / 0.05) ** 2


def search(oracle: GaussianProcessOracle, *, trials: int) -> list[dict[str, float]]:
    proposed = []
    for _ in range(trials):
        trial = oracle.create_trial("worker")
        proposed.append(trial.hyperparameters.values)
        oracle.update_trial(trial.trial_id, {"score": distance(proposed[-1])})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return proposed


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
def test_the_momentums_column_is_the_effective_rate(sampling: str) -> None:
    cube = Cube.of(space(sampling=sampling), effective_rate=PAIR)
    rows = cube.snap(np.random.default_rng(0).random((50, 4)))
    found, plain = cube.columns(rows), Cube(cube.axes).columns(rows)
    np.testing.assert_array_equal(found[:, :-1], plain[:, :-1])
    values = [cube.values(row) for row in rows]
    logs = np.array([np.log(v["rate"] / (1 - v["mom"])) for v in values])
    low, high = np.log(1e-3 / 0.5), np.log(1e-1 / 0.05)
    np.testing.assert_allclose(found[:, -1], (logs - low) / (high - low))
    assert cube.names == ["kind", "rate", "other", NAME]
    assert cube.groups.tolist() == Cube(cube.axes).groups.tolist()


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
def test_gradients_come_back_to_positions(sampling: str) -> None:
    cube = Cube.of(space(sampling=sampling), effective_rate=PAIR)
    weights = np.random.default_rng(1).normal(size=len(cube.groups))
    for row in cube.snap(np.random.default_rng(0).random((5, 4))):

        def value(at: np.ndarray) -> float:
            return float(weights @ cube.columns(at[None])[0])

        numeric = scipy.optimize.approx_fprime(row, value, 1e-7)
        found = cube.pulled_back(weights[None], row[None])[0]
        np.testing.assert_allclose(found[1:], numeric[1:], rtol=1e-5)
        assert found[0] == 0  # a choice has no gradient


def test_an_ascent_ends_where_the_expected_improvement_is_larger() -> None:
    cube = Cube.of(space(), effective_rate=PAIR)
    generator = np.random.default_rng(0)
    rows = cube.snap(generator.random((12, 4)))
    scores = np.array([distance(cube.values(row)) for row in rows])
    model = inference.fit(
        cube.columns(rows), scores - scores.mean(), groups=cube.groups, seed=0
    )

    def improvement(at: np.ndarray) -> float:
        columns = cube.columns(at[None])
        return acquisition.log_expected_improvement(model, columns)[0]

    for start in cube.snap(generator.random((3, 4))):
        end = acquisition.ascended(model, cube, start)
        assert improvement(end) > improvement(start) and end[0] == start[0]
        # No small step leads much higher.
        steps = generator.uniform(-0.02, 0.02, size=(50, 4)) * [0, 1, 1, 1]
        near = np.clip(end + steps, 0, 1)
        assert max(map(improvement, near)) < improvement(end) + 0.02


def test_fewer_points_predict_the_rest_with_it() -> None:
    axes, found = Cube.of(space()).axes, {}
    for pair in (None, PAIR):
        cube = Cube(axes, pair)
        rows = cube.snap(np.random.default_rng(2).random((312, 4)))
        scores = np.array([distance(cube.values(row)) for row in rows])
        scores = gaussian_process.standardised(scores)
        columns = cube.columns(rows)
        model = inference.fit(columns[:12], scores[:12], groups=cube.groups, seed=0)
        mean = model.posterior(columns[12:])[0].mean(0)
        found[pair] = stats.spearmanr(mean, scores[12:]).statistic
    assert found[PAIR] > 0.9 > found[None] + 0.05


def test_length_scales_name_it(tmp_path: Path) -> None:
    oracle = make(tmp_path, effective_rate=PAIR)
    search(oracle, trials=12)
    lengths = oracle.length_scales()
    assert list(lengths) == ["kind", "rate", "other", NAME]
    assert lengths[NAME] < min(lengths["kind"], lengths["rate"], lengths["other"])


def test_a_search_goes_on_as_it_began(tmp_path: Path) -> None:
    """Whatever the next process would begin a search with."""
    for began, later in ((PAIR, None), (None, PAIR)):
        whole = make(tmp_path / f"whole {began}", effective_rate=began)
        expected = search(whole, trials=11)
        first = make(tmp_path / f"cut {began}", effective_rate=began)
        found = search(first, trials=9)
        assert ("effective_rate" in first.get_state()) == (began is not None)
        again = make(tmp_path / f"cut {began}", effective_rate=later)
        again.reload()
        assert again.effective_rate == began
        assert found + search(again, trials=2) == expected


@pytest.mark.parametrize("held", PAIR)
def test_a_pair_of_which_one_is_not_searched_changes_nothing(held: str) -> None:
    made = keras_tuner.HyperParameters()
    for kind in space().space:
        if kind.name == held:
            made.Fixed(held, kind.default)
        else:
            made.merge([kind])
    cube = Cube.of(made, effective_rate=PAIR)
    rows = cube.snap(np.random.default_rng(0).random((9, 4)))
    np.testing.assert_array_equal(cube.columns(rows), Cube(cube.axes).columns(rows))
    assert held not in cube.names and NAME not in cube.names


@pytest.mark.parametrize(
    "declare",
    [
        lambda made: made.Float("mom", 0.5, 1.0),
        lambda made: made.Float("mom", 0.5, 0.9, step=0.1),
        lambda made: made.Int("mom", 0, 5),
        lambda made: made.Choice("mom", [0.8, 0.9]),
    ],
)
def test_what_has_no_effective_rate_is_refused(tmp_path: Path, declare) -> None:
    made = keras_tuner.HyperParameters()
    made.Float("rate", 1e-3, 1e-1, sampling="log")
    declare(made)
    with pytest.raises(UserError, match="rate and mom"):
        make(tmp_path, hyperparameters=made, effective_rate=PAIR)


@pytest.mark.parametrize(
    "space",
    [
        spaces.student(budget=Budget(1_000_000), convs=2),
        spaces.student(budget=Budget(1_000_000), hidden=3),
        spaces.baseline(budget=Budget(1_000_000), convs=2),
        spaces.teacher(),
    ],
)
def test_the_papers_spaces_have_one(space) -> None:
    made = oracles.make(
        "gp",
        hyperparameters=space.hyperparameters(),
        max_trials=5,
        seed=0,
        effective_rate=space.effective_rate,
    )
    name = "learning_rate/(1-momentum)"
    assert (
        name in Cube.of(made.hyperparameters, effective_rate=made.effective_rate).names
    )
    pinned = space.fix({"momentum": 0.9})
    cube = Cube.of(pinned.hyperparameters(), effective_rate=pinned.effective_rate)
    assert name not in cube.names and "learning_rate" in cube.names
