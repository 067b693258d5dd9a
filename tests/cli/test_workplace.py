"""Workdirs that can hold runs, and those refused before anything is read."""

import errno
import os

import pytest

from kerasdistill.cli import arguments, inspecting, workplace
from kerasdistill.errors import UserError
from tests.conftest import remounted
from tests.strange_names import FIT

# Below a folder with a file in it; what the line names besides.
BAD = {
    "a file": ("file", "file"),
    "below a file": ("file/runs", "file"),
    "an address": ("gs://bucket/runs", "local"),
    "another address": ("gs:/bucket/runs", "local"),
    "too long": ("x" * 300, os.strerror(errno.ENAMETOOLONG)),
    "a link to nothing": ("link", "link"),
    "no UTF-8": ("a\udcff", "UTF-8"),
}
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


def parsed(line: str, workdir: str):
    return arguments.parse([*line.split(), "--workdir", workdir])


@pytest.mark.parametrize("verb", [*workplace.VERBS, "reproduce urban-figure-1"])
@pytest.mark.parametrize(("workdir", "named"), BAD.values(), ids=BAD)
def test_refused(workdir, named, verb, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    place = workdir if ":/" in workdir else f"{tmp_path}/{workdir}"
    needed = {"precompute": " --teacher a.keras", "ensemble": " --teacher a.keras"}
    needed |= {"student": " --budget 1M --convs 1", "born-again": " --arch lstm"}
    needed |= {"baseline": needed["student"], "language-model": " --arch lstm"}
    needed["born-again"] = " --arch wide-resnet-10-1"
    with pytest.raises(UserError, match=named):
        workplace.check(parsed(verb + needed.get(verb, ""), place))
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


@pytest.mark.parametrize("name", FIT.values(), ids=FIT)
def test_tried_without_a_trace(name, tmp_path):
    workplace.try_out(tmp_path / name / name)
    assert not os.listdir(tmp_path)
    (tmp_path / name).mkdir()
    workplace.try_out(tmp_path / name)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("number", LOCKLESS)
def test_a_file_system_without_locks(number, tmp_path):
    def lock(file, how):
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match="locks"):
        workplace.try_out(tmp_path / "runs", lock=lock)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("line", ["teacher --plan", "evaluate a.keras", "verify set"])
def test_what_makes_no_runs_tries_nothing(line, tmp_path):
    (tmp_path / "file").touch()
    workplace.check(parsed(line, str(tmp_path / "file")))


def test_read_only(small_disk):
    disk = small_disk(1 << 20)
    (disk / "runs").mkdir()
    remounted(disk, "ro")
    workplace.try_out(disk / "runs")  # finished runs may be there
    with pytest.raises(UserError, match=os.strerror(errno.EROFS)):
        workplace.try_out(disk / "others")
    args = parsed("inspect set", str(disk / "runs"))
    with pytest.raises(UserError, match="--output"):
        inspecting._places(args, disk / "set")
