"""The tutorial, run as it stands: commands and Python, in order."""

import contextlib
import glob
import io
import json
import shlex

import pytest

from kerasdistill.cli.__main__ import main

from .conftest import ROOT

COMMAND = ["$", "python", "-m", "kerasdistill.cli"]


def run_command(line: str, capsys) -> str:
    """A command line as a shell would give it to `main`: what it prints."""
    words = shlex.split(line, comments=True)
    assert words[: len(COMMAND)] == COMMAND, f"{line!r} is not run by this test"
    given = [found for word in words[4:] for found in sorted(glob.glob(word)) or [word]]
    code = main(given)
    told = capsys.readouterr()
    assert code == 0, told.err
    return told.out


@pytest.mark.slow
def test_the_tutorial(blocks, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, printed, checked = {}, "", 0
    for kind, text in blocks(ROOT / "docs" / "tutorial.md"):
        if kind == "console":
            lines = text.replace("\\\n", " ").splitlines()
            printed = "\n".join(run_command(line, capsys) for line in lines)
            assert printed
        elif kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, "tutorial", "exec"), names)
            printed = out.getvalue()
        elif "0." not in text:  # accuracies differ from machine to machine
            assert kind == "text" and printed == text
            checked += 1
    assert checked == 2

    found = {
        path.parent.name.partition("-")[0]: json.loads(path.read_text())
        for path in tmp_path.glob("runs/*/results.json")
    }
    assert set(found) == {"teacher", "precompute", "student", "baseline"}
    assert found["teacher"]["test_accuracy"] > 0.85
    assert found["student"]["test_accuracy"] > 0.75
    assert found["student"]["num_params"] == 99_796  # as the page says
    assert (tmp_path / "saved_models" / "digits-100k" / "card.json").is_file()
