"""Commands that finished before: answered at once, and never wrongly."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kerasdistill.cli import arguments, finished
from kerasdistill.files import write_sealed_json

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras", "apache_beam", "matplotlib", "pandas", "scipy")
LOADED = f"""
import json, sys
from kerasdistill.cli.__main__ import main
code = main(sys.argv[1:])
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([code, loaded]), file=sys.stderr)
"""
STUDENT = "student --budget 30k --convs 2 --dataset digits"


def in_a_process(*words: str) -> tuple[str, list[str], float]:
    """What a command prints, which heavy libraries it imports, processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    code, loaded = json.loads(done.stderr.strip().splitlines()[-1])
    assert code == 0, done.stderr
    return done.stdout, loaded, seconds


def kept(line: str, workdir: Path) -> finished.Finished | None:
    return finished.of(arguments.parse([*line.split(), "--workdir", str(workdir)]))


@pytest.fixture
def workdir(tmp_path) -> Path:
    """A run folder with a model and results, as a student leaves them."""
    run = tmp_path / "runs" / "student-0123456789ab"
    (run / "saved_model").mkdir(parents=True)
    for name in ("model.keras", "saved_model/saved_model.pb", "lock"):
        (run / name).write_text(name)
    write_sealed_json(run / "results.json", {"kind": "student"})
    return tmp_path / "runs"


def answer_of(workdir: Path) -> dict:
    run = workdir / "student-0123456789ab"
    return {"num_params": 7, "model": str(run / "model.keras"), "chain": {"a": [1.5]}}


@pytest.fixture
def remembered(workdir):
    """The workdir after a student that finished there."""
    kept(STUDENT, workdir).keep(answer_of(workdir))
    return workdir


def test_the_same_command_has_the_same_answer(remembered, capsys):
    found = kept(STUDENT, remembered).answer()
    assert found == answer_of(remembered) and [*found] == [*answer_of(remembered)]
    assert capsys.readouterr().err.count("\n") == 1
    # Defaults that are written out, and the form of the answer, change nothing.
    assert kept(f"{STUDENT} --seed 0 --json", remembered).answer() == found
    for more in ("--seed 1", "--quick", "--passes 2", "--precision float32"):
        assert kept(f"{STUDENT} {more}", remembered).answer() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(b"X" + file.read_bytes()[1:]),
        lambda file: file.unlink(),
        lambda file: shutil.copy2(file, f"{file}2") and os.replace(f"{file}2", file),
        lambda file: (file.write_bytes(file.read_bytes()), os.utime(file, ns=(9, 9))),
        lambda file: (file.parent / "new").touch(),
    ],
    ids=("edited", "gone", "replaced", "rewritten", "joined"),
)
@pytest.mark.parametrize("name", ["model.keras", "saved_model/saved_model.pb"])
def test_a_file_that_changed_is_noticed(remembered, change, name):
    assert kept(STUDENT, remembered).answer() is not None
    change(remembered / "student-0123456789ab" / name)
    assert kept(STUDENT, remembered).answer() is None


def test_an_edit_that_keeps_size_and_time_is_noticed(remembered):
    file = remembered / "student-0123456789ab" / "model.keras"
    times = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert kept(STUDENT, remembered).answer() is None


def test_what_every_opening_writes_does_not_count(remembered):
    for name in ("lock", "environment.json"):
        (remembered / "student-0123456789ab" / name).write_text("anew")
    (remembered / "teacher-0123456789ab").mkdir()
    assert kept(STUDENT, remembered).answer() is not None


def test_a_moved_workdir_is_answered_with_its_new_paths(remembered, tmp_path):
    new = tmp_path / "elsewhere" / "kept"
    new.parent.mkdir()
    remembered.rename(new)
    assert kept(STUDENT, new).answer() == answer_of(new)


def test_a_read_only_workdir(remembered, workdir):
    folders = [remembered, *(p for p in remembered.rglob("*") if p.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o555)
        assert kept(STUDENT, remembered).answer() == answer_of(remembered)
        kept(f"{STUDENT} --seed 3", remembered).keep(answer_of(remembered))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_damaged_memory_is_ignored_and_written_anew(remembered):
    [file] = (remembered / finished.FOLDER).iterdir()
    text = file.read_text()
    for damaged in ("", "{", "[]", "{}", text[:-40], text.replace(": 7", ": 8")):
        file.write_text(damaged.replace("num_params", "num_parans"))
        assert kept(STUDENT, remembered).answer() is None
    kept(STUDENT, remembered).keep(answer_of(remembered))
    assert kept(STUDENT, remembered).answer() == answer_of(remembered)


@pytest.mark.parametrize("data", ["pictures", "tfds"])
def test_two_data_folders_are_two_commands(workdir, tmp_path, data):
    for name in ("one", "other"):
        folder = tmp_path / name / "shapes" / "train" / "circle"
        folder.mkdir(parents=True)
        (folder / "0.png").write_text("same")

    def line(name: str) -> str:
        if data == "tfds":
            return f"teacher --dataset shapes --data-dir {tmp_path / name}"
        return f"teacher --dataset folder:{tmp_path / name / 'shapes'}"

    kept(line("one"), workdir).keep(answer_of(workdir))
    assert kept(line("one"), workdir).answer() is not None
    assert kept(line("other"), workdir).answer() is None
    kept(line("other"), workdir).keep(answer_of(workdir))
    (tmp_path / "other" / "shapes" / "train" / "circle" / "1.png").write_text("new")
    assert kept(line("one"), workdir).answer() is not None
    assert kept(line("other"), workdir).answer() is None


def test_text_teachers_and_recipes_are_looked_at(workdir, tmp_path):
    (tmp_path / "train.txt").write_text("a b\n")
    line = f"language-model --data-dir {tmp_path}"
    kept(line, workdir).keep(answer_of(workdir))
    assert kept(line, workdir).answer() is not None
    (tmp_path / "train.txt").write_text("a c\n")
    assert kept(line, workdir).answer() is None

    teacher = tmp_path / "teacher.keras"
    teacher.write_text("weights")
    line = f"{STUDENT} --teacher {teacher}"
    kept(line, workdir).keep(answer_of(workdir))
    assert kept(line, workdir).answer() is not None
    (tmp_path / "card.json").write_text("{}")
    assert kept(line, workdir).answer() is None
    assert kept(f"{STUDENT} --teacher {tmp_path / 'none.keras'}", workdir) is None

    line = f"{STUDENT} --budget {tmp_path / 'train.txt'}"  # any option that is a file
    kept(line, workdir).keep(answer_of(workdir))
    assert kept(line, workdir).answer() is not None
    (tmp_path / "train.txt").write_text("a d\n")
    assert kept(line, workdir).answer() is None


@pytest.mark.parametrize(
    "line",
    [
        "summary teacher",
        "verify PATH",
        "evaluate PATH",
        f"{STUDENT} --trials 3",
        f"{STUDENT} --force",
        "student --dataset digits --student keras:MobileNetV2",
        "teacher --space --trials 2",
        "precompute --teacher {runs}/student-0123456789ab/model.keras --extend X",
        "precompute --teacher {runs}/student-0123456789ab/model.keras --output gs://a/b",
        "teacher --dataset nowhere --data-dir {runs}",
    ],
)
def test_what_goes_the_normal_way(line, workdir):
    assert kept(line.format(runs=workdir), workdir) is None


def test_links_to_folders_go_the_normal_way(workdir, tmp_path):
    (tmp_path / "shapes" / "train").mkdir(parents=True)
    (tmp_path / "shapes" / "train" / "circle").symlink_to(workdir)
    assert kept(f"teacher --dataset folder:{tmp_path / 'shapes'}", workdir) is None


def test_inputs_that_change_meanwhile_are_not_kept(workdir, tmp_path):
    (tmp_path / "train.txt").write_text("a b\n")
    args = arguments.parse(["language-model", "--data-dir", str(tmp_path)])
    before = finished.of(args)
    (tmp_path / "train.txt").write_text("a c\n")
    assert finished.of(args) != before


@pytest.mark.parametrize(
    "line",
    [
        "summary student --budget 1M --convs 3",
        "summary --arch densenet-80-120 --classes 100",
        "summary --arch cnn-lstm --vocabulary 10000",
        "runs list",
        "report",
        STUDENT,
    ],
)
def test_light_verbs_and_reruns_are_quick(line, remembered):
    words = [*line.split(), "--json", "--workdir", str(remembered)]
    seen = [in_a_process(*words) for _ in range(2)]
    assert min(seconds for _, _, seconds in seen) < 1.2
    assert all(loaded == [] for _, loaded, _ in seen)
    assert isinstance(json.loads(seen[0][0]), dict)
