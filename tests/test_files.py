import hashlib
import json
import os
import stat

import pytest

from kerasdistill import files


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_written_whole_and_alone(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    files.write_atomic(path, "café")
    assert path.read_bytes() == "café".encode()
    files.write_atomic(path, b"\0again")
    assert path.read_bytes() == b"\0again"
    assert names(path.parent) == ["a.txt"]


def test_failure_keeps_the_old_content_and_leaves_no_litter(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="full disk"):
        with files.replacing(path) as beside:
            assert beside.suffix == ".keras"
            beside.write_text("half of the n")
            assert path.read_text() == "old"
            raise RuntimeError("full disk")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["model.keras"]


def test_nothing_is_visible_until_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as beside:
        beside.write_text("half")
        assert not path.exists()
        assert beside.parent == path.parent  # a rename within one file system
    assert path.read_text() == "half"


def test_forgetting_to_write_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        with files.replacing(tmp_path / "a.txt"):
            pass
    assert names(tmp_path) == []


def test_directory_takes_the_place_of_an_old_one(tmp_path):
    path = tmp_path / "saved_model"
    for content in ("first", "second"):
        with files.replacing_directory(path) as beside:
            (beside / "variables").mkdir()
            (beside / "variables" / content).write_text(content)
    assert names(path / "variables") == ["second"]
    assert names(tmp_path) == ["saved_model"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_directory_that_fails_keeps_the_old_one(tmp_path):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        with files.replacing_directory(path) as beside:
            (beside / "new").write_text("new")
            raise KeyboardInterrupt
    assert names(path) == ["old"]
    assert names(tmp_path) == ["saved_model"]


def test_json_is_sorted_and_refuses_nan(tmp_path):
    path = tmp_path / "results.json"
    files.write_json_atomic(path, {"b": 1, "a": [0.1]})
    assert path.read_text() == '{\n  "a": [\n    0.1\n  ],\n  "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json_atomic(path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"b": 1, "a": [0.1]}
    assert names(tmp_path) == ["results.json"]


def test_digests(tmp_path):
    content = b"some bytes" * 300_000
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert files.sha256_file(path) == files.sha256_bytes(content) == expected
    # sha256 of nothing, from FIPS 180-4's examples
    assert files.sha256_bytes(b"").startswith("e3b0c44298fc1c149afbf4c8996fb924")


def test_digest_of_a_value_ignores_the_order_of_keys():
    one = files.digest_of({"a": 1, "b": {"c": 2, "d": 3}})
    assert one == files.digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert one != files.digest_of({"a": 1, "b": {"c": 2, "d": 4}})


def test_what_others_may_be_writing_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs" / "deep").mkdir(parents=True)
    names = ("mine/.1.partial.x", "theirs/deep/.1.partial.x", ".1.partial.x")
    for name in names:
        (tmp_path / name).touch()
    files.remove_partial(tmp_path, but_in=[tmp_path / "theirs"])
    assert [(tmp_path / name).exists() for name in names] == [False, True, False]


def removed(path):
    path.unlink()


def replaced(path):
    path.unlink()
    path.touch()


def moved(path):
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize("fault", [removed, replaced, moved])
def test_the_lock_of_a_file_that_is_elsewhere_by_now_is_refused(fault, tmp_path):
    """Whoever opens the path after that would hold a lock too."""
    path = tmp_path / "run" / "lock"
    path.parent.mkdir()
    with open(path, "a") as file:
        fault(path)
        with pytest.raises(BlockingIOError):
            files.lock(file.fileno(), path)


def test_a_lock_is_held_once(tmp_path):
    with open(tmp_path / "lock", "a") as one, open(tmp_path / "lock", "a") as other:
        files.lock(one.fileno(), tmp_path / "lock")
        with pytest.raises(BlockingIOError):
            files.lock(other.fileno(), tmp_path / "lock")


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002])
def test_folders_and_files_are_for_whom_the_umask_says(umask, tmp_path):
    before = os.umask(umask)
    try:
        files.write_atomic(tmp_path / "a.txt", "a")
        with files.replacing_directory(tmp_path / "saved_model"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask
    folder = (tmp_path / "saved_model").stat()
    assert stat.S_IMODE(folder.st_mode) == 0o777 & ~umask
