import json
import subprocess
import sys

import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.runs import RunDirectory, read_json

REQUEST = {"recipe": {"filters": (1, 2), "rate": 0.1}, "dataset": {"name": "digits"}}


def test_same_request_same_folder(tmp_path):
    one = RunDirectory.open(tmp_path, "teacher", REQUEST)
    reordered = dict(reversed(REQUEST.items()))
    assert one.path == RunDirectory.open(tmp_path, "teacher", reordered).path
    assert one.path.parent == tmp_path
    others = [
        RunDirectory.open(tmp_path, "student", REQUEST),
        RunDirectory.open(tmp_path, "teacher", {**REQUEST, "seed": 1}),
    ]
    assert len({one.path, *(other.path for other in others)}) == 3
    assert not one.path.exists()


def test_describes_itself_and_finishes_last(tmp_path):
    with RunDirectory.open(tmp_path, "teacher", REQUEST) as run:
        assert read_json(run.path / "recipe.json") == json.loads(json.dumps(REQUEST))
        environment = read_json(run.path / "environment.json")
        assert environment["packages"]["keras"].startswith("3.")
        assert environment["processors"] >= 1
        assert run.results() is None
        assert run.finish({"accuracy": 0.5}) == {"accuracy": 0.5}
    with RunDirectory.open(tmp_path, "teacher", REQUEST) as again:
        assert again.results() == {"accuracy": 0.5}


def test_paths_follow_a_workdir_that_moved(tmp_path):
    with RunDirectory.open(tmp_path / "old", "teacher", REQUEST) as run:
        run.finish({"model": str(run.path / "model.keras")})
    (tmp_path / "old").rename(tmp_path / "new")
    moved = RunDirectory.open(tmp_path / "new", "teacher", REQUEST)
    assert moved.results() == {"model": str(moved.path / "model.keras")}


def test_second_process_is_refused_with_one_line(tmp_path):
    script = (
        "import sys\n"
        "from kerasdistill.errors import UserError\n"
        "from kerasdistill.runs import RunDirectory\n"
        "try:\n"
        "    with RunDirectory.open(sys.argv[1], 'teacher', {'a': 1}):\n"
        "        print('entered')\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )

    def second():
        return subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with RunDirectory.open(tmp_path, "teacher", {"a": 1}) as run:
        refusal = second()
        assert f"run directory {run.path} is in use by another process" in refusal
        assert refusal.count("\n") == 1
    assert second() == "entered\n"


def test_lock_is_dropped_when_the_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with RunDirectory.open(tmp_path, "teacher", REQUEST):
            raise ZeroDivisionError
    with RunDirectory.open(tmp_path, "teacher", REQUEST) as run:
        assert run.results() is None


def test_workdir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written .* choose another `work"):
        with RunDirectory.open(tmp_path / "file" / "runs", "teacher", REQUEST):
            pytest.fail("entered")


def test_folder_of_another_request(tmp_path):
    run = RunDirectory.open(tmp_path, "teacher", REQUEST)
    run.path.mkdir()
    (run.path / "recipe.json").write_text('{"recipe": {}}')
    with pytest.raises(StaleArtifactError, match="describes another request"):
        with run:
            pytest.fail("entered")
    (run.path / "recipe.json").unlink()
    with run:  # the refusal kept no lock
        assert run.results() is None


def test_damaged_results_are_named(tmp_path):
    with RunDirectory.open(tmp_path, "teacher", REQUEST) as run:
        path = run.path / "results.json"
        for damage in (b'{"accuracy": 0.', b"\xff\xfe"):
            path.write_bytes(damage)
            with pytest.raises(StaleArtifactError, match=f"{path} is damaged"):
                run.results()
