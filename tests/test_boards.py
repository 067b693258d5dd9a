"""Each run has one folder for TensorBoard, and no other run has it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kerasdistill import boards
from kerasdistill.runs import RunDirectory


def test_a_run_keeps_its_folder_and_no_other_gets_it(tmp_path):
    one, two = (boards.claim(tmp_path / name, "student-s0") for name in "ab")
    assert [one.name, two.name] == ["student-s0", "student-s0-2"]
    assert one.parent == tmp_path / "tensorboard"
    assert boards.claim(tmp_path / "b", "another") == two
    assert boards.of_runs(tmp_path) == {tmp_path / "a": [one], tmp_path / "b": [two]}
    assert boards.of_run(tmp_path / "c") is None


def test_processes_at_once_get_different_folders(tmp_path):
    runs = [tmp_path / f"run-{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        got = set(threads.map(lambda run: boards.claim(run, "x"), runs))
    assert len(got) == 8
    assert not list((tmp_path / "tensorboard").glob(".partial.*"))


def test_what_an_older_version_began_goes_on_there(tmp_path):
    inside = tmp_path / "student-1" / "tensorboard"
    inside.mkdir(parents=True)
    assert boards.claim(tmp_path / "student-1", "name") == inside
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("owner", [b"", b"../x", b"a/b", b"\xff"])
def test_a_damaged_owner_is_nobody(owner, tmp_path):
    place = tmp_path / "tensorboard" / "name"
    place.mkdir(parents=True)
    (place / boards.OWNER).write_bytes(owner)
    assert boards.of_runs(tmp_path) == {}
    assert boards.claim(tmp_path / "a", "name").name == "name-2"


def test_a_folder_moved_with_its_workdir_is_found(tmp_path):
    boards.claim(tmp_path / "one" / "a", "name")
    (tmp_path / "one").rename(tmp_path / "two")
    assert boards.of_run(tmp_path / "two" / "a").name == "name"


def test_results_have_the_name(tmp_path):
    with RunDirectory.open(tmp_path, "student", {}) as run:
        boards.claim(run.path, "student-1M")
        assert run.finish({"kind": "student"})["readable_name"] == "student-1M"
    with RunDirectory.open(tmp_path, "ensemble", {}) as run:
        assert "readable_name" not in run.finish({"kind": "ensemble"})
