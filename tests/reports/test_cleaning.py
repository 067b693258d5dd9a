"""What `runs clean` removes, keeps, and says."""

import json
import subprocess
import sys

import pytest

from kerasdistill import boards
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import BusyError, UserError
from kerasdistill.files import digest_of
from kerasdistill.reports import cleaning, listing
from kerasdistill.runs import RunDirectory

from . import made
from .test_listing import HOLD, by_state, workdir  # noqa: F401

URL = "gs://bucket/set"


def finished(folder, verb, results, **request):
    with RunDirectory.open(folder, verb, request) as run:
        (run.path / "checkpoints").mkdir()
        (run.path / "checkpoints" / "last.npz").write_bytes(bytes(500))
        run.finish({"kind": verb, **results})
    return run.path


def stored(folder, number=0, kind="precompute"):
    digest = f"content-{number}"
    return finished(folder, kind, {"content_digest": digest, "bytes": 9}, number=number)


def student(folder, **origin):
    request = {"distillation_set": {"shards_digest": "s", "passes": 1}}
    return finished(folder, "student", {"distillation_set": origin}, **request)


def unreferenced(folder, **how):
    done = cleaning.clean(folder, unreferenced=True, **how)
    return [run["path"] for run in done["removed"]], done


def test_clean_needs_to_be_told_what(workdir):  # noqa: F811
    name = by_state(workdir)["finished"]
    for wrong in (
        {},
        {"names": [name], "unfinished": True},
        {"names": [name], "unreferenced": True},
    ):
        with pytest.raises(UserError, match="`unfinished=True`, `unreferenced"):
            cleaning.clean(workdir, **wrong)
    for other in ("..", "notes", "../x", str(workdir / name), ""):
        with pytest.raises(UserError, match="is no run"):
            cleaning.clean(workdir, names=[name, other])
    assert len(listing.runs(workdir)) == 3


def test_clean_unfinished(workdir):  # noqa: F811
    would = cleaning.clean(workdir, unfinished=True, dry_run=True)
    assert len(would["removed"]) == 2 and len(listing.runs(workdir)) == 3
    done = cleaning.clean(workdir, unfinished=True)
    assert done["bytes"] == would["bytes"] > 0
    assert [each["state"] for each in listing.runs(workdir)] == ["finished"]
    assert (workdir / "notes").is_dir()


@pytest.mark.parametrize("by", ["name", "readable_name"])
def test_clean_a_named_run(by, workdir):  # noqa: F811
    name = by_state(workdir)["finished"]
    board = boards.claim(workdir / name, "student-s0")
    (run,) = (each for each in listing.runs(workdir) if each["name"] == name)
    cleaning.clean(workdir, names=[run[by]])
    assert not (workdir / name).exists() and not board.exists()
    assert len(listing.runs(workdir)) == 2


def test_what_a_live_process_holds_is_never_removed(workdir):  # noqa: F811
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
            cleaning.clean(workdir, names=[name])
        done = cleaning.clean(workdir, unfinished=True, unreferenced=True)
        assert [each["name"] for each in done["kept"]] == [name]
        assert len(done["removed"]) == 1 and trial.is_dir()
        holder.stdin.close()
    assert by_state(workdir)["unfinished"] == name


def test_a_set_without_a_run_goes_and_others_stay(tmp_path):
    used, lone = stored(tmp_path), stored(tmp_path, 1)
    student(tmp_path, path=f"runs/{used.name}/distillation_set")
    would, _ = unreferenced(tmp_path, dry_run=True)
    assert would == [str(lone)] and lone.exists()
    assert unreferenced(tmp_path)[0] == [str(lone)]
    assert used.exists() and not lone.exists()


def test_a_set_that_was_moved_is_known_by_its_content(tmp_path):
    used = stored(tmp_path)
    student(tmp_path, path="/elsewhere/set", content_digest="content-0")
    assert unreferenced(tmp_path)[0] == [] and used.exists()


def unfinished_student(folder):
    with RunDirectory.open(folder, "student", {"n": 1}):
        pass


DOUBTS = {
    "an unfinished student": unfinished_student,
    "a student that names no set": lambda folder: student(folder),
    "a text's student that names no signal": lambda folder: finished(
        folder, "language-model", {"test_perplexity": 9.0}, signal="digest"
    ),
}


@pytest.mark.parametrize("kind", ["precompute", "text-signal"])
@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_set_that_some_run_may_need_stays(doubt, kind, tmp_path):
    lone = stored(tmp_path, kind=kind)
    DOUBTS[doubt](tmp_path)
    removed, done = unreferenced(tmp_path)
    assert removed == [] and lone.exists()
    assert [each["path"] for each in done["kept"]] == [str(lone)]


MODELS = ("teacher", "baseline", "ensemble", "student", "born-again", "language-model")


@pytest.mark.parametrize("kind", MODELS)
def test_a_finished_model_stays_and_its_checkpoints_go(kind, tmp_path):
    path = finished(tmp_path, kind, {})
    removed, done = unreferenced(tmp_path)
    assert removed == [] and (path / "results.json").exists()
    assert [each["path"] for each in done["files"]] == [str(path / "checkpoints")]
    assert done["bytes"] == 500 and not (path / "checkpoints").exists()


def test_an_unfinished_run_keeps_its_checkpoints(tmp_path):
    path = finished(tmp_path, "teacher", {})
    (path / "results.json").unlink()
    assert unreferenced(tmp_path)[1]["files"] == []


def test_what_is_left_of_removed_runs_goes(tmp_path):
    gone = boards.claim(tmp_path / "teacher-1", "teacher-s0")
    own = boards.claim(stored(tmp_path), "set")
    copies = [tmp_path / f"fetched-{digest_of(url)[:12]}" for url in (URL, "gs://b")]
    for copy in copies:
        copy.mkdir()
    student(tmp_path, path=URL)
    _, done = unreferenced(tmp_path)
    assert {str(gone), str(copies[1])} < {each["path"] for each in done["files"]}
    assert not gone.exists() and copies[0].exists() and not copies[1].exists()
    assert not own.exists()  # with its set


def test_another_users_run_is_named(workdir, monkeypatch, capsys):  # noqa: F811
    name = by_state(workdir)["finished"]
    foreign = {"removable": lambda path: False}
    with pytest.raises(UserError, match=name):
        cleaning.clean(workdir, names=[name], **foreign)
    done = cleaning.clean(workdir, unfinished=True, **foreign)
    assert done["removed"] == [] and len(done["kept"]) == 2
    assert len(listing.runs(workdir)) == 3

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(UserError, match=name):
        cleaning.clean(workdir, names=[name], remove=refused)
    assert len(listing.runs(workdir)) == 3


def test_the_verb(workdir, capsys):  # noqa: F811
    line = ["runs", "clean", "--workdir", str(workdir)]
    assert main(line) == 2
    assert main([*line, "--unfinished", "--dry-run"]) == 0
    assert "would remove 2 runs" in capsys.readouterr().out
    lone = stored(workdir, 4)
    both = [*line, "--unfinished", "--unreferenced"]
    assert main([*both, "--plan"]) == 0
    printed = capsys.readouterr().out
    assert "checkpoints" in printed and lone.exists()
    assert main([*line, "--unfinished"]) == 0 and main([*line, "--unreferenced"]) == 0
    assert lone.name in capsys.readouterr().out and not lone.exists()
    name = by_state(workdir)["finished"]
    assert main([*line, "--run", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"][0]["name"] == name


def test_names_are_those_of_the_list(workdir):  # noqa: F811
    text = listing.listed(listing.runs(workdir))
    assert made.results()["kind"] in text
