"""The oracle without a Tuner, through KerasTuner's own protocol."""

import math
from collections.abc import Callable
from pathlib import Path

import keras_tuner
import numpy as np
import pytest

from tuners import GaussianProcessOracle
from tuners.cube import Cube

Values = dict[str, float]


def floats(*names: str) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for name in names:
        space.Float(name, 0.0, 1.0)
    return space


def mixed() -> keras_tuner.HyperParameters:
    """Every kind, with a scope in a scope."""
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-4, 1e-1, sampling="log")
    space.Float("share", 0.0, 1.0, step=0.1)
    space.Int("width", 8, 4096, sampling="log")
    space.Int("layers", 1, 3)
    space.Boolean("bias")
    space.Fixed("epochs", 3)
    space.Choice("kind", ["mlp", "cnn", "rnn"])
    with space.conditional_scope("kind", ["cnn"]):
        space.Choice("kernel", [3, 5, 7])
        with space.conditional_scope("kernel", [5, 7]):
            space.Float("dropout", 0.0, 0.9)
    with space.conditional_scope("bias", [True]):
        space.Float("bias_rate", 0.5, 2.0)
    return space


def mixed_loss(values: Values) -> float:
    loss = (math.log10(values["rate"]) + 2) ** 2 + (values["share"] - 0.3) ** 2
    loss += {"mlp": 1.0, "cnn": 0.0, "rnn": 2.0}[values["kind"]]
    return loss + values.get("dropout", 0.5) ** 2 + 0.1 * values["layers"]


def quadratic(values: Values) -> float:
    """Smallest, 0, at 0.7 in each dimension; the first counts most."""
    weights = 2.0 ** -np.arange(len(values))
    return float(weights @ (np.array([*values.values()]) - 0.7) ** 2)


def make(
    folder: Path,
    space: keras_tuner.HyperParameters,
    *,
    seed: int | None = 0,
    direction: str = "min",
    **more: object,
) -> GaussianProcessOracle:
    oracle = GaussianProcessOracle(
        objective=keras_tuner.Objective("score", direction),
        max_trials=more.pop("max_trials", 100),
        hyperparameters=space,
        seed=seed,
        **more,
    )
    oracle._set_project_dir(str(folder), "search")
    oracle.verbose = 0
    return oracle


def finish(
    oracle: keras_tuner.Oracle,
    trial: keras_tuner.engine.trial.Trial,
    score: float,
    status: str = "COMPLETED",
) -> None:
    oracle.update_trial(trial.trial_id, {"score": score})
    trial.status = status
    oracle.end_trial(trial)


def search(
    oracle: keras_tuner.Oracle, loss: Callable[[Values], float], *, trials: int
) -> list[Values]:
    proposed = []
    for _ in range(trials):
        trial = oracle.create_trial("worker")
        if trial.status == "STOPPED":
            break
        proposed.append(trial.hyperparameters.values)
        finish(oracle, trial, loss(trial.hyperparameters.values))
    return proposed


def test_it_takes_each_keyword_of_the_base_class() -> None:
    space = floats("a")
    oracle = GaussianProcessOracle(
        objective="val_accuracy",
        max_trials=7,
        hyperparameters=space,
        allow_new_entries=False,
        tune_new_entries=False,
        seed=3,
        max_retries_per_trial=2,
        max_consecutive_failed_trials=5,
    )
    assert oracle.objective.direction == "max" and oracle.max_trials == 7
    assert oracle.hyperparameters is space and oracle.seed == 3
    assert not oracle.allow_new_entries and not oracle.tune_new_entries
    assert oracle.max_retries_per_trial == 2
    assert oracle.max_consecutive_failed_trials == 5


@pytest.mark.parametrize("direction", ["min", "max"])
def test_it_finds_an_optimum_far_better_than_random_search(
    tmp_path: Path, direction: str
) -> None:
    names = ("a", "b", "c", "d")
    sign = 1.0 if direction == "min" else -1.0
    oracle = make(tmp_path, floats(*names), direction=direction)
    proposed = search(oracle, lambda values: sign * quadratic(values), trials=20)
    generator = np.random.default_rng(0)
    random = min(
        quadratic(dict(zip(names, point, strict=True)))
        for point in generator.random((20, 4))
    )
    found = min(map(quadratic, proposed))
    assert found < 1e-3 < random
    best = oracle.get_best_trials()[0]
    assert sign * best.score == found


def test_the_same_seed_repeats_the_search_and_another_does_not(tmp_path: Path) -> None:
    def run(name: str, seed: int) -> list[Values]:
        oracle = make(tmp_path / name, floats("a", "b"), seed=seed)
        return search(oracle, quadratic, trials=7)

    assert run("a", 0) == run("b", 0)  # KerasTuner draws a seed for 0
    assert run("c", 1) != run("d", 0)
    first, last = run("e", 1), run("f", 2)
    assert first[0] != last[0] and first[-1] != last[-1]


def test_without_a_seed_two_searches_differ(tmp_path: Path) -> None:
    starts = {
        make(tmp_path / str(n), floats("a"), seed=None)
        .create_trial("worker")
        .hyperparameters.values["a"]
        for n in range(3)
    }
    assert len(starts) > 1


@pytest.mark.parametrize("space", [lambda: floats("a", "b", "c"), mixed])
def test_interrupted_after_any_trial_it_proposes_the_same(
    tmp_path: Path, space: Callable[[], keras_tuner.HyperParameters]
) -> None:
    loss = quadratic if "kind" not in space().values else mixed_loss
    whole = search(make(tmp_path / "whole", space()), loss, trials=8)
    pieces = []
    for _ in range(8):
        # Another seed is of no use: the saved one counts.
        oracle = make(tmp_path / "pieces", space(), seed=5 if pieces else 0)
        if pieces:
            oracle.reload()
        pieces += search(oracle, loss, trials=1)
    assert pieces == whole


def test_interrupted_within_a_trial_it_gives_that_trial_again(tmp_path: Path) -> None:
    def run(name: str, *, interrupt: bool) -> list[Values]:
        oracle = make(tmp_path / name, floats("a", "b"))
        search(oracle, quadratic, trials=5)
        oracle.create_trial("worker")
        if interrupt:
            oracle = make(tmp_path / name, floats("a", "b"))
            oracle.reload()
        search(oracle, quadratic, trials=3)
        ids = sorted(oracle.trials)
        return [oracle.trials[key].hyperparameters.values for key in ids]

    assert run("cut", interrupt=True) == run("whole", interrupt=False)


def test_a_kill_between_two_files_loses_no_trial(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a", "b"))
    search(oracle, quadratic, trials=3)
    saved = Path(oracle._get_oracle_fname()).read_text()
    unknown = oracle.create_trial("worker")
    Path(oracle._get_oracle_fname()).write_text(saved)
    again = make(tmp_path, floats("a", "b"))
    again.reload()
    given = again.create_trial("worker")
    assert given.trial_id == unknown.trial_id
    assert given.hyperparameters.values == unknown.hyperparameters.values
    saved = Path(again._get_oracle_fname()).read_text()
    finish(again, given, 0.5)
    Path(again._get_oracle_fname()).write_text(saved)
    last = make(tmp_path, floats("a", "b"))
    last.reload()
    assert last.create_trial("worker").trial_id not in again.trials
    assert last.end_order == again.end_order


def test_the_order_in_which_files_are_found_is_of_no_matter(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a", "b"))
    search(oracle, quadratic, trials=6)
    expected = oracle.populate_space("x")
    oracle.trials = dict(reversed(oracle.trials.items()))
    assert oracle.populate_space("x") == expected


def test_state_survives_a_reload(tmp_path: Path) -> None:
    oracle = make(tmp_path, mixed(), num_initial_points=6)
    search(oracle, mixed_loss, trials=7)
    again = make(tmp_path, mixed())
    again.reload()
    state = oracle.get_state()
    # A set, so in any order.
    for each in (mine := again.get_state()), state:
        each["tried_so_far"] = sorted(each["tried_so_far"])
    assert mine == state and mine["num_initial_points"] == 6
    assert again.length_scales() == oracle.length_scales()


def test_workers_get_different_points(tmp_path: Path) -> None:
    def waves(values: Values) -> float:
        return math.sin(9 * values["a"]) * math.cos(7 * values["b"])

    oracle = make(tmp_path, floats("a", "b"))
    search(oracle, waves, trials=6)
    running = [oracle.create_trial(f"worker{n}") for n in range(5)]
    points = np.array([[*trial.hyperparameters.values.values()] for trial in running])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert apart[np.triu_indices(5, 1)].min() > 0.05
    assert oracle.create_trial("worker0") is running[0]


def test_many_workers_can_start_before_any_trial_has_ended(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a", "b"))
    running = [oracle.create_trial(f"worker{n}") for n in range(12)]
    points = {tuple(trial.hyperparameters.values.values()) for trial in running}
    assert len(points) == 12
    for trial in running[::-1]:
        finish(oracle, trial, quadratic(trial.hyperparameters.values))
    assert oracle.create_trial("worker0").status == "RUNNING"


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_diverged_trials_are_failed_and_never_the_best(
    tmp_path: Path, direction: str, score: float
) -> None:
    oracle = make(tmp_path, floats("a"), direction=direction)
    trial = oracle.create_trial("worker")
    finish(oracle, trial, score)
    assert oracle.get_trial(trial.trial_id).status == "FAILED"
    search(oracle, quadratic, trials=6)
    assert math.isfinite(oracle.get_best_trials()[0].score)
    assert trial.trial_id != oracle.get_best_trials()[0].trial_id


@pytest.mark.parametrize("status", ["FAILED", "INVALID"])
def test_the_search_leaves_where_trials_fail(tmp_path: Path, status: str) -> None:
    """Without the failures, the optimum would lie among them."""
    oracle = make(tmp_path, floats("a", "b"), max_consecutive_failed_trials=99)
    failed = []
    for _ in range(24):
        trial = oracle.create_trial("worker")
        values = trial.hyperparameters.values
        bad = values["a"] > 0.6
        failed.append(bad)
        score = float("nan") if bad else quadratic(values)
        if bad:
            trial.status = status
            oracle.end_trial(trial)
        else:
            finish(oracle, trial, score)
    assert sum(failed[-12:]) <= 4
    best = oracle.get_best_trials()[0]
    assert best.score < 0.03 and best.hyperparameters.values["a"] <= 0.6


def test_a_trial_that_waits_for_its_retry_is_no_failure_yet(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a"), max_retries_per_trial=1)
    first = oracle.create_trial("worker")
    first.status = "INVALID"
    oracle.end_trial(first)
    again = oracle.create_trial("worker")
    assert again.trial_id == first.trial_id and again.status == "RUNNING"
    finish(oracle, again, 0.5)
    assert oracle.get_best_trials()[0].score == 0.5


def test_nothing_but_failures_is_no_obstacle(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a"), max_consecutive_failed_trials=99)
    points = set()
    for _ in range(8):
        trial = oracle.create_trial("worker")
        points.add(trial.hyperparameters.values["a"])
        trial.status = "FAILED"
        oracle.end_trial(trial)
    assert len(points) == 8 and oracle.length_scales() == {}


def test_equal_scores_are_no_obstacle(tmp_path: Path) -> None:
    proposed = search(make(tmp_path, floats("a")), lambda _: 0.1, trials=8)
    assert len({values["a"] for values in proposed}) == 8


def test_every_kind_of_hyperparameter_keeps_its_range(tmp_path: Path) -> None:
    oracle = make(tmp_path, mixed())
    proposed = search(oracle, mixed_loss, trials=18)
    for values in proposed:
        assert 1e-4 <= values["rate"] <= 1e-1 and values["epochs"] == 3
        assert type(values["width"]) is int and 8 <= values["width"] <= 4096
        assert type(values["layers"]) is int and 1 <= values["layers"] <= 3
        assert values["share"] * 10 == pytest.approx(round(values["share"] * 10))
        assert type(values["bias"]) is bool
        assert ("kernel" in values) == (values["kind"] == "cnn")
        assert ("dropout" in values) == (values.get("kernel") in (5, 7))
        assert ("bias_rate" in values) == values["bias"]
    best = oracle.get_best_trials()[0].hyperparameters.values
    assert best["kind"] == "cnn" and best["layers"] == 1
    assert 10**-2.3 < best["rate"] < 10**-1.7


def test_the_start_is_even_on_a_log_scale(tmp_path: Path) -> None:
    space = keras_tuner.HyperParameters()
    space.Float("rate", 1e-4, 1.0, sampling="log")
    oracle = make(tmp_path, space, num_initial_points=16)
    rates = [values["rate"] for values in search(oracle, lambda _: 0.0, trials=16)]
    decades = np.bincount(np.floor(np.log10(rates)).astype(int) + 4, minlength=4)
    assert decades.tolist() == [4, 4, 4, 4]


def test_no_point_comes_twice_and_a_space_that_is_used_up_ends_the_search(
    tmp_path: Path,
) -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("kind", ["a", "b", "c"])
    with space.conditional_scope("kind", ["a"]):
        space.Int("size", 1, 3)
    oracle = make(tmp_path, space)
    proposed = search(oracle, lambda values: values.get("size", 5), trials=9)
    assert len(proposed) == 5  # a1, a2, a3, b, c
    assert len({tuple(sorted(values.items())) for values in proposed}) == 5
    assert oracle.create_trial("worker").status == "STOPPED"


def test_the_number_of_trials_is_kept(tmp_path: Path) -> None:
    oracle = make(tmp_path, floats("a"), max_trials=5)
    assert len(search(oracle, quadratic, trials=9)) == 5


def test_a_space_may_grow_during_the_search(tmp_path: Path) -> None:
    oracle = make(tmp_path, keras_tuner.HyperParameters())
    first = oracle.create_trial("worker")
    assert first.hyperparameters.values == {}
    first.hyperparameters.Float("a", 0.0, 1.0)
    finish(oracle, first, 1.0)
    search(oracle, quadratic, trials=5)
    late = oracle.create_trial("worker")
    late.hyperparameters.Choice("b", ["x", "y", "z"])
    finish(oracle, late, 0.5)
    assert set(search(oracle, lambda _: 1.0, trials=1)[0]) == {"a", "b"}


def test_length_scales_come_by_name_and_the_one_that_matters_is_short(
    tmp_path: Path,
) -> None:
    space = floats("a", "b")
    space.Fixed("epochs", 3)
    space.Choice("kind", ["x", "y", "z"])
    oracle = make(tmp_path, space)
    assert oracle.length_scales() == {}
    search(oracle, lambda values: math.sin(6 * values["b"]), trials=20)
    lengths = oracle.length_scales()
    assert set(lengths) == {"a", "b", "kind"}
    assert lengths["b"] < 0.7 < min(lengths["a"], lengths["kind"])
    assert all(type(length) is float for length in lengths.values())


def test_values_go_to_positions_and_back() -> None:
    cube = Cube.of(mixed())
    rows = cube.snap(np.random.default_rng(0).random((200, len(cube.axes))))
    values = [cube.values(row) for row in rows]
    back = cube.positions(values)
    # A width of many is continuous here: its value is rounded.
    np.testing.assert_allclose(back, rows, atol=0.02)
    for row, expected in zip(cube.snap(back), values, strict=True):
        assert cube.values(row) == pytest.approx(expected)


def test_ends_of_a_range_are_values() -> None:
    cube = Cube.of(mixed())
    low = cube.values(cube.snap(np.zeros((1, len(cube.axes))))[0])
    high = cube.values(cube.snap(np.ones((1, len(cube.axes))))[0])
    assert low["rate"] == pytest.approx(1e-4) and low["rate"] >= 1e-4
    assert high["rate"] == pytest.approx(1e-1) and high["rate"] <= 1e-1
    assert (low["width"], high["width"]) == (8, 4096)
    assert (low["layers"], high["layers"]) == (1, 3)


def test_an_inactive_hyperparameter_counts_for_nothing() -> None:
    cube = Cube.of(mixed())
    names = [axis.hyperparameter.name for axis in cube.axes]
    row = np.full((2, len(names)), 0.1)  # the first kind, without a kernel
    row[1, names.index("dropout")] = row[1, names.index("kernel")] = 0.9
    snapped = cube.snap(row)
    np.testing.assert_array_equal(snapped[0], snapped[1])
    assert not cube.active(snapped)[0, names.index("dropout")]


def test_two_categories_are_as_far_apart_as_any_two() -> None:
    space = keras_tuner.HyperParameters()
    space.Choice("kind", ["a", "b", "c", "d"])
    cube = Cube.of(space)
    columns = cube.columns(cube.snap(np.array([[0.1], [0.3], [0.6], [0.9]])))
    apart = np.linalg.norm(columns[:, None] - columns[None], axis=2)
    np.testing.assert_allclose(apart, 1 - np.eye(4))
    assert cube.groups.tolist() == [0, 0, 0, 0]
