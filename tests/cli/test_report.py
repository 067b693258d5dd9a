"""The verb `report`, through `main`."""

import json

import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.reports import plots

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
    monkeypatch.setattr(plots, "available", lambda: False)
    assert main(["report", "search", folders[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["png"] is None
    assert main(["report", "search", folders[0], "--png", "a.png"]) == 2
    assert "kerasdistill[report]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        ("report", "what"),
        ("report search", "PATH"),
        ("report born /tmp", "invalid choice: 'born'"),
        ("report search /nowhere", "/nowhere does not exist"),
    ],
)
def test_bad_requests(words, fragment, capsys):
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    errors = [row for row in printed.err.splitlines() if row.startswith("error: ")]
    assert len(errors) == 1 and fragment in errors[0] and printed.out == ""
