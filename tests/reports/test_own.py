"""The user's own runs: one row for each, beside whom it learned from."""

import json
import re

import pytest

from kerasdistill.cli.__main__ import main
from kerasdistill.reports import own, own_plots, own_words, page, render
from kerasdistill.reports.collect import collect
from kerasdistill.reports.overview import overview, shown

from . import made

TEXTS = ("terminal", "markdown", "csv", "latex", "page")


def write(folder, name, results):
    place = folder / name
    place.mkdir(parents=True)
    (place / "results.json").write_text(json.dumps(results))


@pytest.fixture
def workdir(tmp_path):
    """A teacher, a set of it, a student of the set, its twin, and their ensemble."""
    size = {"num_params": 250_000, "dataset": "photos"}
    teacher = made.results("teacher", test=0.9, loss="hard-label", dataset="photos")
    write(tmp_path, "teacher-1", {**teacher, "weights_digest": "abc"})
    (tmp_path / "teacher-1" / "model.keras").write_bytes(bytes(1_000_000))
    stored = {"kind": "precompute", "content_digest": "d", "views": 10, "bytes": 7}
    stored |= {"teachers": ["elsewhere/teacher-1/model.keras"]}
    write(tmp_path, "precompute-1", stored)
    place = {"path": "runs/precompute-1/distillation_set", "content_digest": "d"}
    student = made.results(test=0.8, teacher_agreement=0.7, **size)
    student |= {"distillation_set": place, "teacher_test_accuracy": 0.91}
    student["history"] = [
        {"epoch": n, "accuracy": n / 10, "val_accuracy": n / 11} for n in (1, 2)
    ]
    write(tmp_path, "student-1", student)
    write(tmp_path, "baseline-1", made.results("baseline", test=0.75, **size))
    members = ["x/student-1/model.keras", "x/teacher-1/model.keras"]
    joined = {**made.ensemble(2), "members": members}
    write(tmp_path, "ensemble-1", joined)
    return tmp_path


def rows(*folders):
    return {row["readable_name"]: row for row in own.rows(collect(folders).runs)}


def test_a_student_stands_beside_its_teacher_and_its_twin(workdir):
    found = rows(workdir)
    student = found["student-250k-3conv-s0"]
    assert student["teacher"]["readable_name"] == "teacher-1M-3conv-s0"
    # What the student's own results say of the teacher is of its own images.
    assert student["teacher"]["test_accuracy"] == 0.91
    assert student["teacher"]["val_accuracy"] == 0.80
    twin = {"readable_name": "baseline-250k-3conv-s0", "test_accuracy": 0.75}
    assert twin.items() <= student["baseline"].items()
    assert student["teacher_agreement"] == 0.7 and student["bytes"] is None
    teacher = found["teacher-1M-3conv-s0"]
    assert teacher["bytes"] == 1_000_000
    assert teacher["teacher"] is None and teacher["baseline"] is None
    assert found["set-10-views"]["teacher"]["readable_name"] == teacher["readable_name"]
    names = ["student-250k-3conv-s0", "teacher-1M-3conv-s0"]
    assert found["ensemble-of-2"]["members"] == names


@pytest.mark.parametrize(
    "changes",
    [{"samples": 9}, {"epochs": 3}, {"filters": (1,)}, {"num_params": 300_000}],
)
def test_another_data_set_length_or_size_is_no_twin(changes, workdir):
    other = {"num_params": 250_000, "dataset": "photos", **changes}
    (workdir / "baseline-1" / "results.json").write_text(
        json.dumps(made.results("baseline", **other))
    )
    assert rows(workdir)["student-250k-3conv-s0"]["baseline"] is None


def test_generations_and_texts_have_rows(tmp_path):
    chain = made.born_again("wide-resnet-28-1", students=2, ensembles=("Ens*2",))
    teacher, student = made.language_model(), made.language_model(loss="ban+l")
    write(tmp_path, "born-again-1", chain)
    write(tmp_path, "language-model-1", teacher)
    student |= {"teachers": ["runs/language-model-1/model.keras"], "val_perplexity": 80}
    write(tmp_path, "language-model-2", student)
    found = rows(tmp_path)
    named = [name for name in found if name.startswith("born-again-wide-resnet-28-1")]
    ends = {name.partition("-ban-s0-")[2] for name in named}
    assert ends == {"Ens*2", "generation-0", "generation-1", "generation-2"}
    (text,) = (row for row in found.values() if row["teacher"])
    assert text["teacher"]["test_perplexity"] == 85.0
    assert own_words.best_score(text) == "perplexity 85.00"


def test_a_generation_with_a_folder_of_its_own_is_told_once(tmp_path):
    chain = made.born_again("wide-resnet-28-1")
    for number, row in enumerate(chain["generations"]):
        row |= {"weights_digest": f"w{number}"}
        own_results = made.results("generation", weights_digest=f"w{number}")
        write(tmp_path, f"generation-{number}", own_results)
    write(tmp_path, "born-again-1", chain)
    assert len(rows(tmp_path)) == 2


def test_equal_names_are_told_apart_and_given_ones_stay(tmp_path):
    for number in range(3):
        given = {"readable_name": "student-1M-3conv-s0"} if number == 2 else {}
        write(tmp_path, f"student-{number}", made.results(**given))
    assert sorted(rows(tmp_path)) == [
        *("student-1M-3conv-s0", "student-1M-3conv-s0-2", "student-1M-3conv-s0-3")
    ]
    found = {r["path"]: r["readable_name"] for r in rows(tmp_path).values()}
    assert found[str(tmp_path / "student-2" / "results.json")] == "student-1M-3conv-s0"


ODD = {
    "recipe": {"recipe": [1]},
    "dataset": {"dataset": 3},
    "teacher": {"teacher": {"model": 7}},
    "set": {"distillation_set": "x"},
    "history": {"history": [1, {"epoch": "x", "val_accuracy": "y"}]},
    "name": {"readable_name": 5},
    "weights": {"num_params": "many"},
    "data set's name": {"dataset": {"name": 3}},
    "bytes": {"kind": "precompute", "bytes": "many"},
    "accuracy": {"test_accuracy": "high"},
    "not finite": {"test_accuracy": float("nan"), "val_accuracy": float("inf")},
}


@pytest.mark.parametrize("fault", ODD)
def test_odd_results_stop_no_report(fault, tmp_path):
    write(tmp_path, "student-1", {**made.results(), **ODD[fault]})
    write(tmp_path, "student-2", made.results())
    report = overview(collect([tmp_path]))
    assert json.dumps(report, allow_nan=False)
    assert "student-1M-3conv-s0" in page.page(shown(report))


@pytest.mark.parametrize("form", TEXTS)
def test_a_papers_table_appears_when_a_cell_is_filled_or_asked_for(form, tmp_path):
    def text(*runs, papers=False):
        folder = tmp_path / str(len(runs))
        folder.mkdir(exist_ok=True)
        made.write(folder, *runs)
        report = shown(overview(collect([folder])), papers=papers)
        return {**render.FORMATS, "page": page.page}[form](report)

    named = "urban-table-2" if form == "csv" else "Table 2"
    assert named not in text()
    assert named not in text(made.results(dataset="photos"))
    assert named in text(made.results(), made.results(seed=1))
    assert named in text(papers=True)
    other = "ban-table-6" if form == "csv" else "Table 6"
    assert other not in text(made.results(), made.results(seed=1))


def test_hundreds_of_runs_are_cut_on_a_terminal_alone(tmp_path):
    runs = [made.results(seed=seed, dataset="photos") for seed in range(200)]
    report = shown(overview(collect([made.write(tmp_path, *runs)])))
    lines = render.terminal(report).splitlines()
    assert len(lines) < 60 and any("and 160 more" in line for line in lines)
    assert max(map(len, lines)) <= 100
    html = page.page(report)
    assert html.count("<tr>") == 201 and html.count("<details") == 12
    assert len(render.comma_separated(report).splitlines()) == 1 + 3 * 200


@pytest.mark.parametrize("width", [40, 80, 200])
def test_names_are_never_cut(width, workdir):
    report = shown(overview(collect([workdir])))
    text = render.terminal(report, width=width)
    assert all(row["readable_name"] in text for row in report["own_runs"])


def test_the_page_of_one_run_is_worth_opening(workdir, tmp_path, capsys):
    alone = tmp_path / "alone"
    (workdir / "student-1").rename(alone)
    (alone / "model.keras").write_bytes(bytes(100))
    html = tmp_path / "page.html"
    assert main(["report", str(alone), "--html", str(html), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    text = html.read_text()
    assert text.count("<img") == 2 and "<details open>" in text  # curve, and weights
    assert "student, 65-65-65 on photos" in text and "inspect" in text
    (row,) = answer["own_runs"]
    assert any(str(alone / "model.keras") in line for line in row["next"])
    assert answer["png"] is None  # it was not the workdir that was read


def test_the_picture_lies_in_the_workdir_or_where_it_should(workdir, capsys):
    assert main(["report", "--workdir", str(workdir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["png"] == str(workdir / "report.png")
    other = workdir / "other.png"
    assert main(["report", str(workdir), "--png", str(other)]) == 0
    assert other.read_bytes().startswith(b"\x89PNG")


def test_points_are_by_data_set_and_kind_of_score(workdir):
    found = own_plots.points(own.rows(collect([workdir]).runs))
    assert [(key, len(each)) for key, each in found.items()] == [
        (("photos", "accuracy"), 3),
        (("cifar10", "accuracy"), 1),
    ]
    assert own_plots.against_weights([]) is None


def test_a_curve_needs_an_epoch(workdir):
    student = rows(workdir)["student-250k-3conv-s0"]
    (axes,) = own_plots.learning_curve(student).axes
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert [list(map(round, each)) for each in drawn] == [[10, 20], [9, 18]]
    assert own_plots.learning_curve({**student, "history": []}) is None


def test_no_run_is_said_so(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no finished run" in printed and not re.search(r"Table \d", printed)
    assert main(["report", str(tmp_path), "--papers"]) == 0
    assert "Table 6" in capsys.readouterr().out
