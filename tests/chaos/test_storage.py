"""A disk that is full, read-only or gone: one line, nothing lost, and on it goes.

Where file systems may be mounted, a real small one fills up; elsewhere the errors are
the system's own numbers, raised at a chosen change of the disk.
"""

import random
import shutil
import threading
import time

import pytest

from tests.chaos.harness import outcome
from tests.chaos.table import VERBS
from tests.conftest import remounted

FAULTS = {
    "ENOSPC": "No space left on device",
    "EROFS": "Read-only file system",
    "EIO": "Input/output error",
}
SHORT = [("precompute", "ENOSPC")]
LONG = [
    pytest.param(name, fault, marks=pytest.mark.slow)
    for name, verb in VERBS.items()
    for fault in FAULTS
    if verb.counted and (name, fault) not in SHORT
]


def says(error: str, reason: str) -> None:
    assert reason in error
    assert "run the same command again" in error or "choose another" in error


@pytest.mark.parametrize(("name", "fault"), [*SHORT, *LONG])
def test_a_disk_that_fails_at_some_moment(
    name, fault, server, inputs, undisturbed, tmp_path
):
    line = inputs.fill(VERBS[name].line)
    whole, expected = undisturbed(name)
    at = random.Random(f"{name} {fault}").randrange(2, len(whole.seen) - 3)
    cwd = tmp_path / "cwd"
    failed = server.run(line, cwd, fault=fault, at=at)
    if failed.rc == 0:  # it failed in what is only tidied up at the end
        assert fault == "ENOSPC" or at > len(whole.seen) - 20
    else:
        says(failed.error, FAULTS[fault])
    again = server.run(line, cwd)
    assert again.rc == 0, again.said[-2000:]
    assert outcome(cwd) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["precompute", "precompute, 2 workers", "student"])
def test_a_small_file_system_that_fills_up(name, server, inputs, tmp_path, small_disk):
    line = inputs.fill(VERBS[name].line)
    whole = server.run(line, tmp_path / "whole")
    disk = small_disk(1 << 24)
    used = sum(p.stat().st_size for p in (tmp_path / "whole").rglob("*"))
    filler = disk / "filler"
    cwd = disk / "cwd"
    for part in (0.1, 0.5, 0.8):
        filler.write_bytes(bytes(max(0, (1 << 24) - int(part * used) - (1 << 16))))
        failed = server.run(line, cwd)
        if failed.rc:
            says(failed.error, "No space left" if "left" in failed.error else "needed")
        filler.unlink()
    again = server.run(line, cwd)
    assert again.rc == 0, again.said[-2000:]
    assert outcome(cwd) == outcome(tmp_path / "whole") and whole.rc == 0


@pytest.mark.slow
def test_a_read_only_workdir(server, inputs, tmp_path, small_disk):
    disk = small_disk(1 << 24)
    earlier = server.run(inputs.fill(VERBS["ensemble"].line), disk / "cwd")
    assert earlier.rc == 0
    before = outcome(disk / "cwd")
    remounted(disk, "ro")
    for name in ("precompute", "student", "teacher", "export"):
        failed = server.run(inputs.fill(VERBS[name].line), disk / "cwd")
        says(failed.error, "Read-only file system")
    assert outcome(disk / "cwd") == before
    remounted(disk, "rw")
    done = server.run(inputs.fill(VERBS["precompute"].line), disk / "cwd")
    assert done.rc == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["teacher", "student", "precompute", "search"])
def test_a_folder_removed_while_it_is_worked_in(name, server, inputs, tmp_path):
    line = inputs.fill(VERBS[name].line)
    cwd = tmp_path / "cwd"
    removed = []

    def remove():
        kind = {"search": "student-search"}.get(name, name)
        while not list(cwd.glob(f"runs/{kind}-*/environment.json")):
            time.sleep(0.005)
        removed.append(shutil.rmtree(next(cwd.glob(f"runs/{kind}-*"))))

    thread = threading.Thread(target=remove)
    thread.start()
    failed = server.run(line, cwd)
    thread.join()
    assert removed and failed.error
    again = server.run(line, cwd)
    assert again.rc == 0, again.said[-2000:]
    server.run(line, tmp_path / "whole")
    assert outcome(cwd) == outcome(tmp_path / "whole")
