"""Runs in a workdir, listed and removed."""

import json
import subprocess
import sys

import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.errors import BusyError, UserError
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


def test_clean_needs_to_be_told_what(workdir):
    finished = by_state(workdir)["finished"]
    for wrong in ({}, {"names": [finished], "unfinished": True}):
        with pytest.raises(UserError, match="--unfinished, or --run"):
            listing.clean(workdir, **wrong)
    for name in ("..", "notes", "../x", str(workdir / finished), ""):
        with pytest.raises(UserError, match="is no run"):
            listing.clean(workdir, names=[finished, name])
    assert len(listing.runs(workdir)) == 3


def test_clean_unfinished(workdir):
    would = listing.clean(workdir, unfinished=True, dry_run=True)
    assert len(would["removed"]) == 2 and len(listing.runs(workdir)) == 3
    done = listing.clean(workdir, unfinished=True)
    assert done["bytes"] == would["bytes"] > 0
    assert [each["state"] for each in listing.runs(workdir)] == ["finished"]
    assert (workdir / "notes").is_dir()


def test_clean_a_named_run(workdir):
    name = by_state(workdir)["finished"]
    listing.clean(workdir, names=[name])
    assert not (workdir / name).exists() and len(listing.runs(workdir)) == 2


HOLD = """
import sys
from kerasdistill.runs import RunDirectory
from pathlib import Path
with RunDirectory(Path(sys.argv[1]), {}):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_what_a_live_process_holds_is_never_removed(workdir):
    search = next(workdir.glob("demo/*"))
    trial = search / "trials" / "00"
    command = [sys.executable, "-c", HOLD, str(trial)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "in\n"
        # A process in a trial holds the search.
        name = str(search.relative_to(workdir))
        assert by_state(workdir)["held"] == name
        with pytest.raises(BusyError):
            listing.clean(workdir, names=[name])
        done = listing.clean(workdir, unfinished=True)
        assert [each["name"] for each in done["kept"]] == [name]
        assert len(done["removed"]) == 1 and trial.is_dir()
        holder.stdin.close()
    assert by_state(workdir)["unfinished"] == name


def test_the_verb(workdir, capsys):
    line = ["runs", "list", "--workdir", str(workdir)]
    assert main([*line, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 3
    assert main([*line, "--unfinished"]) == 2
    line[1] = "clean"
    assert main(line) == 2
    assert main([*line, "--unfinished", "--dry-run"]) == 0
    assert "would remove 2 runs" in capsys.readouterr().out
    name = by_state(workdir)["finished"]
    assert main([*line, "--run", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"][0]["name"] == name


def test_sizes_and_ages():
    assert [listing.size(n) for n in (9, 12_000, 3e6, 2.5e9)] == [
        *("9 B", "12 kB", "3 MB", "2.5 GB")
    ]
    assert [listing.age(n) for n in (5, 120, 7200, 200_000)] == [
        *("5 s", "2 min", "2 h", "2 d")
    ]
