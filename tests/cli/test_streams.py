"""Every verb with every kind of stream and name: lists, to which a case is a line."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.files import write_sealed_json
from pipelines import datasets
from tests.strange_names import UNFIT, lines_of

ROOT = Path(__file__).resolve().parents[2]
LIGHT = {
    "summary": "summary student --budget 1M --convs 3",
    "runs": "runs list",
    "doctor": "doctor",
    "help": "--help",
}
# A shell's words after the command -> its exit code; what is finished stays so.
MISSING = {f"{fds}": (fds, 0) for fds in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-")}
FULL = {
    "head": ("| head -c 1", 0),
    "both to head": ("2>&1 | head -c 1", 0),
    "full stdout": (">/dev/full", 1),
    "full stderr": ("2>/dev/full", 0),
    "closed stderr": ("2> >(head -c 1 >/dev/null)", 0),
}
TRAINING = (
    "baseline --dataset digits --quick --budget 5k --hidden 1 --epochs 2 "
    "--schedule cosine --precision float32"
)
LINES = {
    "runs list": "runs list --workdir {0}",
    "runs clean": "runs clean --unfinished --dry-run --workdir {0}",
    "report": "report {0}",
    "report csv": "report {0} --format csv",
    "report born-again": "report born-again {0}",
    "nothing there": "inspect {0}/nothing",
    "unknown network": "summary --arch {1}",
    "unknown option": "summary {1}",
    "doctor": "doctor --workdir {0} --data-dir {0}",
}


def shell(line: str, redirected: str, cwd: Path) -> subprocess.CompletedProcess:
    """Runs a command line in bash; the exit code is our command's."""
    command = f"{sys.executable} -m kerasdistill.cli {line} {redirected}"
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def named(tmp_path):
    """The function that makes a workdir whose runs have a name, in every field."""

    def make(name: str) -> Path:
        for place in (f"{name}-1", f"{name}-2/{name}"):
            run = tmp_path / "runs" / place
            run.mkdir(parents=True)
            (run / "lock").touch()
            fields = dict.fromkeys(("kind", "arch", "dataset", "recipe"), name)
            if place.endswith("1"):
                write_sealed_json(run / "results.json", {**fields, "epochs": 2})
        return tmp_path / "runs"

    return make


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("name", UNFIT.values(), ids=UNFIT)
def test_names_in_every_verb(name, line, named, capsys):
    folder = str(named(name))
    words = [word.format(folder, name) for word in line.split()]
    assert main(words) in (0, 1, 2)
    captured = capsys.readouterr()
    assert not any(each.startswith("error: ") for each in lines_of(captured.out))
    assert not any(each.startswith("error: b") for each in lines_of(captured.err))
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("name", UNFIT.values(), ids=UNFIT)
def test_json_is_one_object_with_the_names(name, named, capsys):
    assert main(["runs", "list", "--workdir", str(named(name)), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii() and out.count("\n") == 1
    runs = json.loads(out)["runs"]
    assert sorted(run["name"] for run in runs) == [f"{name}-1", f"{name}-2/{name}"]


def test_a_bad_name_loses_no_listing(named):
    folder, shown = named("漢\udcff"), io.TextIOWrapper(io.BytesIO(), "ascii")
    (folder / "ordinary").mkdir()
    (folder / "ordinary" / "lock").touch()
    with redirect_stdout(shown):
        assert main(["runs", "list", "--workdir", str(folder)]) == 0
    lines = shown.buffer.getvalue().decode().splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "ordinary",
        r"\u6f22",
        r"\u6f22-2",
    ]


@pytest.mark.parametrize("name", UNFIT.values(), ids=UNFIT)
def test_names_of_classes_and_files(name, tmp_path, capsys):
    from PIL import Image

    for split in ("train", "test"):
        for n, group in enumerate((name, "other")):
            (tmp_path / split / group).mkdir(parents=True)
            for k in range(3):
                colour = (90 * n + 7 * k, 40 * k, 9 if split == "test" else 0)
                picture = Image.new("RGB", (8, 8), colour)
                picture.putpixel((k, n), (255, 255, 255))
                picture.save(tmp_path / split / group / f"{k}.png")
            (tmp_path / split / group / f"{name}.png").write_bytes(b"no picture")
    try:
        datasets.load(f"folder:{tmp_path}")
    except datasets.UserError as error:
        assert main(["summary", str(error)]) == 2  # as any text in an error
    captured = capsys.readouterr()
    assert lines_of(captured.err) and not captured.out


@pytest.mark.parametrize(("redirected", "code"), [*MISSING.values()], ids=[*MISSING])
@pytest.mark.parametrize("verb", ["runs", "doctor"])
def test_missing_descriptors(verb, redirected, code, tmp_path):
    (tmp_path / "runs").mkdir()
    done = shell(LIGHT[verb], redirected, tmp_path)
    assert done.returncode == code and not done.stderr
    assert bool(done.stdout) == ("1>&-" not in redirected)


@pytest.mark.parametrize(("redirected", "code"), FULL.values(), ids=FULL)
@pytest.mark.parametrize("verb", ["help", "summary"])
def test_streams_that_are_full_or_not_read(verb, redirected, code, tmp_path):
    done = shell(LIGHT[verb], redirected, tmp_path)
    assert done.returncode == code
    assert done.stderr.count("error: ") == done.stderr.count("\n") == code


@pytest.mark.slow
@pytest.mark.parametrize(("redirected", "code"), {**MISSING, **FULL}.values())
@pytest.mark.parametrize("verb", LIGHT)
def test_light_verbs_with_every_stream(verb, redirected, code, tmp_path):
    (tmp_path / "runs").mkdir()
    done = shell(LIGHT[verb], redirected, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("redirected", "code"), {**MISSING, **FULL}.values())
def test_a_training_with_every_stream(redirected, code, tmp_path):
    done = shell(TRAINING, redirected, tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    (results,) = tmp_path.glob("runs/baseline-*/results.json")
    for file in results.parent.rglob("*.json"):  # no line of a log got into a file
        json.loads(file.read_text())
