"""Runs in a workdir, listed."""

import json

import pytest

from kerasdistill import boards
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import UserError
from kerasdistill.reports import listing
from kerasdistill.runs import RunDirectory

from . import made


@pytest.fixture
def workdir(tmp_path):
    """A finished run, an unfinished one, a search with a trial, and no run."""
    for number, results in enumerate((made.results(), None)):
        with RunDirectory.open(tmp_path, "student", {"number": number}) as run:
            (run.path / "weights").write_bytes(bytes(1000))
            if results:
                run.finish(results)
    with RunDirectory.open(tmp_path / "demo", "teacher-search", {}) as run:
        with RunDirectory(run.path / "trials" / "00", {}) as trial:
            trial.finish({"status": "COMPLETED"})
    (tmp_path / "notes").mkdir()
    return tmp_path


def by_state(workdir):
    return {each["state"]: each["name"] for each in listing.runs(workdir)}


def test_list(workdir):
    found = {each["name"]: each for each in listing.runs(workdir)}
    assert len(found) == 3  # the trial is the search's
    search = next(name for name in found if name.startswith("demo/"))
    assert found[search]["kind"] == "teacher-search"
    (done,) = (each for each in found.values() if each["state"] == "finished")
    assert done["accuracy"] == 0.79 and 1000 < done["bytes"] < 10_000
    assert "cifar10, 65-65-65, 1,000,376 parameters, 16 epochs" == done["what"]
    assert 0 <= done["age_seconds"] < 600
    text = listing.listed(list(found.values()))
    assert "79.00 %" in text and "unfinished" in text
    with pytest.raises(UserError, match="no folder"):
        listing.runs(workdir / "nothing")


def test_a_damaged_run_is_listed(workdir):
    name = by_state(workdir)["finished"]
    (workdir / name / "results.json").write_text("{")
    (each,) = (e for e in listing.runs(workdir) if e["name"] == name)
    assert (each["state"], each["accuracy"], each["kind"]) == (
        "finished",
        None,
        "student",
    )


HOLD = """
import sys
from kerasdistill.runs import RunDirectory
from pathlib import Path
with RunDirectory(Path(sys.argv[1]), {}):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_texts_have_perplexities_and_ensembles_members(tmp_path):
    def finish(verb, results):
        with RunDirectory.open(tmp_path, verb, {}) as run:
            run.finish(results)
        return run.path

    text = finish("language-model", made.language_model(test=93.43))
    models = [finish(verb, made.results(verb)) for verb in ("teacher", "student")]
    members = [f"runs/{path.name}/model.keras" for path in (*models, text)]
    finish("ensemble", made.ensemble(3) | {"members": members, "averaging": "x"})
    boards.claim(models[0], "teacher-by-name")
    found = {each["kind"]: each for each in listing.runs(tmp_path)}
    assert found["language-model"]["perplexity"] == 93.43
    assert found["language-model"]["accuracy"] is None
    assert found["teacher"]["readable_name"] == "teacher-by-name"
    names = ["teacher-by-name", "student-1M-3conv-s0"]
    assert found["ensemble"]["members"][:2] == names
    printed = listing.listed(list(found.values()))
    assert "perplexity 93.43" in printed and "of teacher-by-name, student" in printed


def test_the_verb(workdir, capsys):
    line = ["runs", "list", "--workdir", str(workdir)]
    assert main([*line, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 3
    assert main([*line, "--unfinished"]) == 2


def test_sizes_and_ages():
    assert [listing.size(n) for n in (9, 12_000, 3e6, 2.5e9)] == [
        *("9 B", "12 kB", "3 MB", "2.5 GB")
    ]
    assert [listing.age(n) for n in (5, 120, 7200, 200_000)] == [
        *("5 s", "2 min", "2 h", "2 d")
    ]
