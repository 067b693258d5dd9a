"""The paper's tables in a time limit: what is run, what is left, what is kept."""

import argparse
import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        yield
    for name in ("paper", "paper_cells", "paper_table", "tables"):
        sys.modules.pop(name, None)


class Machine:
    """A command line that takes 10 s, and 0.1 s for a million multiply-adds and epoch;
    the rate 0.01 is best."""

    def __init__(self, folder, **codes):
        self.now, self.folder, self.codes, self.ran = 0.0, folder, codes, []

    def run(self, words):
        from paper_cells import RATES, Student

        options = dict(zip(words, [*words[1:], ""], strict=True))
        name = "-".join([words[0], options.get("--budget", "")]).rstrip("-")
        self.ran.append(words)
        if code := self.codes.get(name.replace("-", "_")):
            return code, None
        run = self.folder / f"run-{len(self.ran)}"
        run.mkdir()
        (run / "environment.json").write_text(json.dumps({"backend": "jax"}))
        found = {"kind": words[0], "model": str(run / "m.keras"), "val_accuracy": 0.5}
        found |= {"test_accuracy": 0.6, "weights_digest": " ".join(words)}
        self.now += 10
        if words[0] == "precompute":
            return 0, {"kind": words[0], "distillation_set": str(run / "set")}
        if words[0] == "ensemble":
            return 0, {**found, "members": [options["--teacher"]]}
        cost = 1e8
        if "--convs" in options:
            row = f"convs-{options['--convs']}"
            cost = Student(options["--budget"], row, 1, None).cell().cost
            rate = options.get("--learning-rate", RATES[0][0])
            found["val_accuracy"] += 0.1 * (rate == "0.01")
        seconds = 1e-7 * cost * int(options["--epochs"])
        self.now += seconds
        return 0, {**found, "seconds": seconds, "epochs": int(options["--epochs"])}


def evidence(machine, folder, **options):
    from paper import Evidence

    args = {"time_limit": 1e9, "scale": 0.05, "teachers": 2, "published": False}
    args |= {"budgets": ["1M"], "families": ["convs-1", "convs-3"], "baselines": "10M"}
    args |= {"search_rates": False, "seeds": 1, "seed_cells": ["1M:convs-3"]}
    args |= {"workdir": str(folder), "results": None, "handed_on": ["--quick"]}
    args |= {"device": lambda: "a card"} | options
    return Evidence(
        argparse.Namespace(**args), run=machine.run, clock=lambda: machine.now
    )


def verbs(machine):
    return [words[0] for words in machine.ran]


def test_everything_is_run_from_the_cheapest_up_and_kept(tmp_path):
    machine = Machine(tmp_path)
    made = evidence(machine, tmp_path, results=str(tmp_path / "kept"))
    made.run()
    assert (made.left, made.failed) == ([], [])
    assert verbs(machine)[:4] == ["teacher", "teacher", "ensemble", "precompute"]
    networks = [(words[2], words[4]) for words in machine.ran[4:]]
    assert networks == [("1M", "1"), ("10M", "1"), ("1M", "3"), ("10M", "3")]
    assert all(words[-1] == "--quick" for words in machine.ran)
    kept = json.loads((tmp_path / "kept" / "student-1m-convs-3.json").read_text())
    assert (kept["published"], kept["environment"]["device"]) == (90.7, "a card")
    table = importlib.import_module("paper_table").table(tmp_path / "kept")
    (line,) = [each for each in table.splitlines() if "3 conv, 3 pool, 1M" in each]
    assert "| 90.7 | 60.00 | 50.00 | 0.003, 0.9 | 8 |" in line


def test_what_does_not_fit_is_left(tmp_path):
    machine = Machine(tmp_path)
    made = evidence(machine, tmp_path, time_limit=150)
    made.run()
    assert verbs(machine)[-1] == "baseline"  # of one convolution
    assert [each.split(",")[0] for each in made.left] == [
        "student-1m-convs-3",
        "baseline-10m-convs-3",
    ]
    assert machine.now <= 150


@pytest.mark.parametrize(
    ("code", "left", "failed"),
    [
        ({"teacher": 2}, "all that needs", "teacher-fast-s0"),
        ({"student_1M": 130}, "student-1m-convs-1, begun", None),
        ({"student_1M": 1}, None, "student-1m-convs-1"),
    ],
)
def test_commands_that_end_otherwise(code, left, failed, tmp_path):
    made = evidence(Machine(tmp_path, **code), tmp_path)
    made.run()
    assert [left in each for each in made.left][:1] == [True] * bool(left)
    assert made.failed[:1] == [failed] * bool(failed)


def test_rates_are_searched_on_validation_and_get_more_seeds(tmp_path):
    machine = Machine(tmp_path)
    made = evidence(machine, tmp_path, search_rates=True, seeds=3)
    made.run()
    words = [" ".join(each) for each in machine.ran if each[0] == "student"]
    trials = [each for each in words if "--passes 2" in each]
    assert len(trials) == 6 and all("--convs 1" in each for each in trials)
    again = [each for each in words if "0.01" in each and "--passes 8" in each]
    assert [each.split("--seed ")[1][0] for each in again] == ["0", "0", "1", "2"]
    found = importlib.import_module("paper_table").table(tmp_path / "paper")
    assert "60.00 ± 0.00 (3)" in found
