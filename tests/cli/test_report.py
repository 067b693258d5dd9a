"""The verb `report`, through `main`."""

import json
import os
import subprocess
import sys

import pytest

from kerasdistill import packages
from kerasdistill.cli.__main__ import main

from ..reports import made
from ..reports.conftest import content


@pytest.fixture
def folders(tmp_path):
    paths = [tmp_path / "gp", tmp_path / "random"]
    for path in paths:
        path.mkdir()
        (path / "trials.json").write_text(json.dumps(content(oracle=path.name)))
    return [str(path) for path in paths]


def test_tables_for_people_and_a_picture(folders, capsys):
    assert main(["report", "search", folders[0]]) == 0
    out = capsys.readouterr().out
    assert "best 90.00 %" in out and "length scales" in out
    picture = f"{folders[0]}/report.png"
    assert out.rstrip().endswith(picture)
    with open(picture, "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_several_in_json(folders, capsys, tmp_path):
    picture = str(tmp_path / "both.png")
    assert main(["report", "search", *folders, "--png", picture, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [each["oracle"] for each in answer["searches"]] == ["gp", "random"]
    assert answer["searches"][0]["best"] == 0.90
    assert answer["png"] == picture
    with open(picture, "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_a_picture_is_left_out_where_none_can_be_drawn(folders, capsys, monkeypatch):
    monkeypatch.setattr(packages, "is_installed", lambda module: False)
    assert main(["report", "search", folders[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["png"] is None
    assert main(["report", "search", folders[0], "--png", "a.png"]) == 2
    assert "pip install 'matplotlib" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("report search", "PATH"),
        ("report born", "born does not exist"),
        ("report search /nowhere", "/nowhere does not exist"),
        ("report search . --html a.html", "--html belongs to"),
        ("report --format pdf", "invalid choice"),
    ],
)
def test_bad_requests(words, fragment, capsys):
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    errors = [row for row in printed.err.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1 and fragment in errors[0] and printed.out == ""


def test_the_papers_tables_and_a_page(tmp_path, capsys):
    folder = made.write(tmp_path / "runs", made.results())
    (folder / "damaged").mkdir()
    (folder / "damaged" / "results.json").write_text("[")
    html = tmp_path / "page.html"
    line = ["report", "--workdir", str(folder), "--html", str(html)]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "79.00" in printed.out and "missing" in printed.out
    assert "student-1M-3conv-s0" in printed.out and "Table 6" not in printed.out
    assert "damaged/results.json is damaged" in printed.err
    assert html.read_text().startswith("<!doctype html>")
    assert main([*line, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["runs"] == 1 and answer["html"] == str(html) and "text" not in answer
    assert main(["report", str(folder), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("table,row,column")
    assert main(["report", "--workdir", str(tmp_path / "none"), "--json"]) == 0
    assert "nothing is measured" in (shown := capsys.readouterr()).err
    assert json.loads(shown.out)["runs"] == 0


@pytest.mark.parametrize("more", [[], ["--json"], ["--format", "csv"]])
def test_a_folder_without_runs_is_named_with_what_was_looked_for(
    more, tmp_path, capsys
):
    folder = tmp_path / "kept"
    folder.mkdir()
    file = folder / "student.json"
    file.write_text(json.dumps(made.results()))
    assert main(["report", str(folder), *more]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder} holds no finished run: results.json")
    assert "by name" in line
    assert main(["report", "--workdir", str(folder), *more]) == 0
    assert capsys.readouterr().err.startswith(f"{folder} holds no finished run")
    assert main(["report", str(file), *more]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "latex"])
def test_a_language_model_without_a_cell_is_reported(form, tmp_path, capsys):
    folder = made.write(tmp_path, made.language_model(units=200, test=93.43))
    html = tmp_path / "page.html"
    line = ["report", str(folder), "--html", str(html)]
    assert main([*line, "--format", form]) == 0
    assert form == "csv" or "93.43" in capsys.readouterr().out
    assert "perplexity 93.43" in html.read_text()
    if form == "terminal":
        assert main([*line, "--json"]) == 0
        (other,) = json.loads(capsys.readouterr().out)["unplaced"]
        assert (other["test_perplexity"], other["test_accuracy"]) == (93.43, None)


def test_a_page_needs_matplotlib_and_a_place(tmp_path, capsys, monkeypatch):
    assert main(["report", str(tmp_path), "--html", "/proc/page.html"]) == 2
    assert "/proc/page.html cannot be written" in capsys.readouterr().err
    monkeypatch.setattr(packages, "is_installed", lambda module: False)
    assert main(["report", str(tmp_path), "--html", str(tmp_path / "a.html")]) == 2
    assert "pip install 'matplotlib" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 0


def test_a_report_does_not_start_tensorflow(tmp_path):
    code = (
        "import sys; from kerasdistill.cli.__main__ import main; "
        f"main(['report', {str(tmp_path)!r}, '--json']); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    code = "import sys; from kerasdistill.cli.__main__ import main; sys.exit(main())"
    words = [sys.executable, "-c", code, "report", str(tmp_path)]
    reading, writing = os.pipe()
    os.close(reading)  # as head does when it has its lines
    with open(writing, "wb") as nobody:
        done = subprocess.run(words, stdout=nobody, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr
