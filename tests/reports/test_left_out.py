"""What a report has no value for: it says so, and why."""

import json

import pytest

from kerasdistill.errors import UserError
from kerasdistill.reports.collect import collect
from kerasdistill.reports.overview import (
    is_missing,
    measured_text,
    overview,
    settings_text,
    unplaced_text,
)

from . import made


def report(tmp_path, *runs):
    return overview(collect([made.write(tmp_path, *runs)]))


def cells(found):
    return {
        (table["name"], row["key"], each["column"]): each
        for table in found["tables"]
        for row in table["rows"]
        for each in row["cells"]
    }


def measured(found):
    return [each for each in cells(found).values() if each["measured"]]


def test_damaged_files_are_named_and_others_counted(tmp_path):
    folder = made.write(tmp_path, made.results(), {"status": "COMPLETED"}, {})
    (folder / "run-2" / "results.json").write_text("{")
    odd = [
        made.results(test=1.5),
        made.results(val=float("nan")),
        made.results(num_params="many"),
        {**made.results(), "recipe": [1]},
        {"kind": "born-again", "generations": [{"loss": "ban"}]},
        {**made.language_model(), "teachers": 3},
    ]
    made.write(tmp_path / "odd", *odd)
    found = overview(collect([folder]))
    assert len(measured(found)) == 1
    assert len(found["problems"]) == 7  # a trial is none
    assert all("results.json" in line for line in found["problems"])
    named = collect([folder / "run-1" / "results.json"])
    assert "no results of a run" in named.problems[0]
    with pytest.raises(UserError, match="does not exist"):
        collect([tmp_path / "nothing"])


def test_what_the_paper_quotes_is_not_missing(tmp_path):
    found = overview(collect([tmp_path]))
    ends = [
        ("urban-table-1", "ba-teacher", "accuracy", "Ba & Caruana"),
        ("urban-table-1", "ba-ensemble", "accuracy", "Ba & Caruana"),
        ("ban-table-5", "pre-resnet-1001", "Baseline", "He et al."),
    ]
    for table, row, column, source in ends:
        quoted = cells(found)[table, row, column]
        assert quoted["published"] and not is_missing(quoted)
        assert measured_text(quoted) == "-"
        assert settings_text(quoted) == f"quoted by the paper [{quoted['mark']}]"
        assert source in found["notes"][quoted["mark"]]
    told = [each for each in cells(found).values() if each["quoted"] is not None]
    assert len(told) == len(ends)
    nothing = cells(found)["ban-table-5", "pre-resnet-1001", "BAN"]
    assert (measured_text(nothing), settings_text(nothing)) == ("-", "")


def test_runs_without_a_place_are_told_with_what_they_reached(tmp_path):
    text = made.language_model(units=200, test=93.43)
    none, odd = made.results("teacher"), made.results("teacher", test=float("nan"))
    found = report(tmp_path, text, {**none, "test_accuracy": None}, odd, none)
    lines = list(map(unplaced_text, found["unplaced"]))
    assert ": perplexity 93.43, the paper's" in lines[0]
    assert all("json: the widths" in line for line in lines[1:3])
    assert "json: 79.00 %, the widths" in lines[3]
    assert json.dumps(found, allow_nan=False)


def test_folders_without_a_run_are_named(tmp_path):
    full, broken, other = (tmp_path / name for name in ("full", "broken", "other"))
    made.write(full, made.results())
    made.write(broken, made.results())
    (broken / "run-0" / "results.json").write_text("{")
    made.write(other, {"status": "COMPLETED"})  # a search's trial
    (other / "student.json").write_text(json.dumps(made.results()))
    found = collect([full, full, broken, other])
    assert found.empty == (str(other),) and len(found.problems) == 1
    assert not collect([other / "student.json"]).empty
