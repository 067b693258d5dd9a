"""The loop over trials: failures, kills at every write, ranking, tables, seeds.

No network is trained here: a trial's score is a formula of its values.
"""

import csv
import itertools
import json
import math

import keras_tuner
import pytest

from kerasdistill.budget import Budget
from kerasdistill.errors import DivergedError, StaleArtifactError, UserError
from kerasdistill.files import write_json_atomic
from tuners import durable, oracles, record, spaces
from tuners.search import Tuner, require_hope

SPACE = spaces.student(budget=Budget(1_000_000), convs=2)
NAMES = ["random", "kerastuner", "gp", "sobol"]
TRIALS = 6


class Killed(BaseException):
    """What no handler catches: as if the process were gone."""


def score(values) -> float:
    return 0.5 + 0.4 * math.sin(9 * values["c1"]) * values["momentum"]


def trained(values, folder):
    """A trial as the experiments leave it."""
    found = {
        "status": "COMPLETED",
        "values": SPACE.values(values),
        "val_accuracy": score(values),
        "best_epoch": 2,
        "epochs": 3,
        "num_params": 1_000_000,
        "seconds": 0.5,
        "pruned": False,
    }
    write_json_atomic(folder / "results.json", found)
    return found["val_accuracy"]


def oracle(name="random", *, max_trials=TRIALS, seed=0):
    return oracles.make(
        name,
        hyperparameters=SPACE.hyperparameters(),
        max_trials=max_trials,
        seed=seed,
    )


def search(folder, run=trained, **asked):
    tuner = Tuner(oracle(**asked), folder=folder, run=run)
    tuner.search()
    return tuner


def history(folder):
    """Everything about the trials that a kill must not change."""
    return [
        (t["number"], t["values"], t["val_accuracy"]) for t in record.trials(folder)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_trials_are_run_once_each(name, tmp_path):
    calls = []

    def run(values, folder):
        calls.append(folder)
        return trained(values, folder)

    tuner = search(tmp_path, run, name=name)
    assert len(set(calls)) == len(calls) == TRIALS
    best = max(score(values) for _, values, _ in history(tmp_path))
    assert tuner.oracle.get_best_trials(1)[0].score == pytest.approx(best)
    again = search(tmp_path, run, name=name)
    assert len(calls) == TRIALS and len(again.oracle.trials) == TRIALS

    search(tmp_path, run, name=name, max_trials=TRIALS + 1)  # more extend it
    assert len(calls) == TRIALS + 1
    assert [n for n, _, _ in history(tmp_path)] == list(range(1, TRIALS + 2))


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_honoured(name, tmp_path):
    seeds = {"first": 0, "again": 0, "other": 1}
    for folder, seed in seeds.items():
        search(tmp_path / folder, name=name, seed=seed, max_trials=3)
    first, again, other = (history(tmp_path / folder) for folder in seeds)
    assert first == again != other


def writes_until_kill(monkeypatch, count):
    """Lets so many files be written whole, and dies before the next is."""
    left = itertools.count(count, -1)
    write = durable.write_atomic

    def dying(path, text):
        if next(left) == 0:
            raise Killed
        write(path, text)

    monkeypatch.setattr(durable, "write_atomic", dying)


@pytest.mark.parametrize("name", ["random", "gp"])
def test_a_kill_before_any_write_changes_nothing(name, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    search(whole, name=name, max_trials=3)
    for count in range(60):
        folder = tmp_path / str(count)
        ran = []

        def run(values, place, ran=ran):
            ran.append(place.name)
            return trained(values, place)

        with monkeypatch.context() as patched:
            writes_until_kill(patched, count)
            try:
                search(folder, run, name=name, max_trials=3)
                break
            except Killed:
                pass
        done = {t["folder"].name for t in record.trials(folder)}
        before = list(ran)
        tuner = search(folder, run, name=name, max_trials=3)
        assert history(folder) == history(whole), count
        statuses = [t.status for t in tuner.oracle.trials.values()]
        assert statuses == ["COMPLETED"] * 3
        assert sorted(tuner.oracle.end_order) == sorted(tuner.oracle.start_order)
        # At most the trial whose end was not written yet is asked for again.
        assert len([place for place in ran[len(before) :] if place in done]) <= 1
        scores = [t.score for t in tuner.oracle.trials.values()]
        assert scores == [accuracy for _, _, accuracy in history(whole)]
    assert count > 10


def test_the_stock_oracle_goes_on_from_its_model_as_if_never_killed(tmp_path):
    """Its random state is not among what it saves; ours depends on the trial alone."""
    one = SPACE.fix({d.name: d.middle for d in SPACE.dimensions[:5]})

    def asked(trials, folder):
        made = oracles.make(
            "kerastuner",
            hyperparameters=one.hyperparameters(),
            max_trials=trials,
            seed=0,
        )
        run = lambda values, place: trained({**SPACE.middle, **values}, place)  # noqa: E731
        Tuner(made, folder=folder, run=run).search()

    asked(5, tmp_path / "whole")  # three at random, then by its model
    for trials in (2, 4, 5):
        asked(trials, tmp_path / "parts")
    assert history(tmp_path / "parts") == history(tmp_path / "whole")


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_inside_a_trial(name, tmp_path):
    search(tmp_path / "whole", name=name, max_trials=5)

    for dies_in in (1, 3, 5):
        places = []

        def run(values, folder, places=places, dies_in=dies_in):
            places.append(folder.name)
            if len(places) == dies_in:
                raise Killed
            return trained(values, folder)

        folder = tmp_path / str(dies_in)
        with pytest.raises(Killed):
            search(folder, run, name=name, max_trials=5)
        search(folder, run, name=name, max_trials=5)
        assert history(folder) == history(tmp_path / "whole")
        assert places[dies_in - 1] == places[dies_in]  # it goes on in its own folder
        assert len(places) == 6


def diverging(values, folder):
    if values["c1"] > 0.5:
        write_json_atomic(
            folder / "results.json",
            {"status": "FAILED", "values": SPACE.values(values), "error": "NaN"},
        )
        raise DivergedError("the loss is nan at step 3")
    return trained(values, folder)


@pytest.mark.parametrize("name", NAMES)
def test_diverged_trials_fail_and_are_never_best(name, tmp_path):
    tuner = search(tmp_path, diverging, name=name)
    trials = list(tuner.oracle.trials.values())
    failed = [t for t in trials if t.hyperparameters.values["c1"] > 0.5]
    assert failed and {t.status for t in failed} == {"FAILED"}
    assert all(t.score is None for t in failed)
    ranked = record.ranked(record.trials(tmp_path))
    assert len(ranked) == TRIALS - len(failed)
    assert all(t["values"]["c1"] <= 0.5 for t in ranked)
    best = tuner.oracle.get_best_trials(1)[0]
    assert best.score == ranked[0]["val_accuracy"]


def test_other_errors_end_the_search_and_lose_nothing(tmp_path):
    def full(values, folder):
        if folder.name.endswith("2"):
            raise UserError("the disk is full")
        return trained(values, folder)

    with pytest.raises(UserError, match="disk is full"):
        search(tmp_path / "a", full)
    with pytest.raises(ZeroDivisionError):
        search(tmp_path / "b", lambda values, folder: 1 / 0)
    search(tmp_path / "a")
    search(tmp_path / "whole")
    assert history(tmp_path / "a") == history(tmp_path / "whole")


@pytest.mark.parametrize(
    ("trials", "left", "refused"),
    [
        (["FAILED"] * 9, 1, False),
        (["FAILED"] * 10, 1, True),
        (["FAILED"] * 3, 0, True),
        (["FAILED"] * 30 + ["COMPLETED"], 0, False),
        ([], 5, False),
    ],
)
def test_a_search_without_a_score_is_ended(trials, left, refused):
    found = [{"status": status, "error": "NaN at step 7"} for status in trials]
    if not refused:
        require_hope(found, left=left)
        return
    with pytest.raises(UserError, match="NaN at step 7.*`fix` learning_rate"):
        require_hope(found, left=left)


@pytest.mark.parametrize(
    "file", ["oracle.json", "trial_1/trial.json", "trial_1/results.json"]
)
@pytest.mark.parametrize("damage", ["half", "empty", "other", "gone"])
def test_damaged_files_are_named(file, damage, tmp_path):
    search(tmp_path, max_trials=3)
    path = tmp_path / "trials" / file
    if damage == "gone":
        path.unlink()
    else:
        text = path.read_text()
        path.write_text(
            {"half": text[: len(text) // 2], "empty": "", "other": "[1]"}[damage]
        )
    if damage == "gone" and file != "trial_1/trial.json":
        return  # a folder without them is one where nothing has begun, or ended
    with pytest.raises(StaleArtifactError, match=path.name) as refusal:
        search(tmp_path, max_trials=5)
        record.trials(tmp_path)
    assert "\n" not in str(refusal.value)


def test_tables(tmp_path):
    search(tmp_path, diverging, max_trials=6)
    pinned = SPACE.fix({"input_scale": 1.0})
    found = record.write(
        tmp_path,
        space=pinned,
        oracle="random",
        seed=3,
        max_trials=9,
        length_scales=None,
    )
    assert [t["number"] for t in found] == [1, 2, 3, 4, 5, 6]
    told = json.loads((tmp_path / "trials.json").read_text())
    assert {
        key: told[key] for key in ("objective", "max_trials", "oracle", "seed")
    } == {
        "objective": "val_accuracy",
        "max_trials": 9,
        "oracle": "random",
        "seed": 3,
    }
    assert told["length_scales"] is None
    assert told["space"][0] == {
        "name": "learning_rate",
        "kind": "float",
        "low": 0.0013,
        "high": 0.016,
        "scale": "log",
        "fixed": None,
    }
    assert told["space"][2]["fixed"] == 1.0
    keys = {"trial_id", "number", "status", "values", "val_accuracy", "best_epoch"}
    assert keys | {"epochs", "num_params", "seconds"} <= set(told["trials"][0])
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == [t["status"] for t in told["trials"]]
    for row, trial in zip(rows, told["trials"], strict=True):
        assert float(row["c1"]) == trial["values"]["c1"]
        if trial["status"] == "COMPLETED":
            assert float(row["val_accuracy"]) == trial["val_accuracy"]


def test_a_trial_that_was_given_up_has_a_row_with_the_reason(tmp_path):
    """As the chief ends one at which workers died: without results in its folder."""
    pinned = SPACE.fix({"input_scale": 1.0})
    given = oracles.make(
        "random", hyperparameters=pinned.hyperparameters(), max_trials=3, seed=0
    )
    given._set_project_dir(str(tmp_path), "trials")
    first, lost, running = (given.create_trial(name) for name in "abc")
    folder = tmp_path / "trials" / f"trial_{first.trial_id}"
    trained({**first.hyperparameters.values, "input_scale": 1.0}, folder)
    given.update_trial(first.trial_id, {"val_accuracy": 0.5})
    first.status, lost.status, lost.message = "COMPLETED", "FAILED", "3 workers died"
    given.end_trial(first)
    given.end_trial(lost)
    found = record.write(tmp_path, space=pinned, oracle="random", seed=0, max_trials=3)
    assert [(t["number"], t["status"]) for t in found] == [
        (1, "COMPLETED"),
        (2, "FAILED"),  # and none for the one that runs
    ]
    assert max(found, key=record.ended_at)["number"] == 2
    told = json.loads((tmp_path / "trials.json").read_text())["trials"][1]
    assert told["error"] == "3 workers died" and told["val_accuracy"] is None
    assert told["values"] == pinned.values(lost.hyperparameters.values)
    assert told["values"]["input_scale"] == 1.0
    with open(tmp_path / "trials.csv", newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert row["error"] == "3 workers died" and float(row["input_scale"]) == 1.0
    with pytest.raises(UserError, match="3 workers died"):
        require_hope(found[1:], left=0)


def test_length_scales_are_kept(tmp_path):
    scales = {"c1": 0.3}
    record.write(
        tmp_path, space=SPACE, oracle="gp", seed=0, max_trials=1, length_scales=scales
    )
    assert json.loads((tmp_path / "trials.json").read_text())["length_scales"] == scales


def test_ties_go_to_the_earlier_trial():
    def trial(number, accuracy, status="COMPLETED"):
        return {"number": number, "val_accuracy": accuracy, "status": status}

    found = [trial(1, 0.3), trial(2, 0.8), trial(3, 0.9, "FAILED"), trial(4, 0.8)]
    assert [t["number"] for t in record.ranked(found)] == [2, 4, 1]


def test_unknown_oracle():
    with pytest.raises(UserError, match="gp, kerastuner, random, sobol"):
        oracle("genetic")


def test_every_name_of_the_command_line_is_an_oracle():
    from kerasdistill.cli.distilling_options import ORACLES

    assert set(ORACLES) == set(oracles.ORACLES)
    for name in ORACLES:
        assert isinstance(oracle(name), keras_tuner.Oracle)
