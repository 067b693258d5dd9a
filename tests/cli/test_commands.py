"""Verbs that succeed, through `main`: what they print and what they leave."""

import json
import re
import shutil

import pytest

from kerasdistill.cli import answers, finished
from kerasdistill.cli.__main__ import main
from kerasdistill.exports import formats

DIGITS = ["--dataset", "digits", "--precision", "float32"]
SHORT = ["--epochs", "1", "--schedule", "cosine"]


def answer(capsys, *arguments) -> dict:
    """The one JSON object that `arguments` print."""
    code = main([*map(str, arguments), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def test_summary_of_every_family(capsys):
    teacher = answer(capsys, "summary", "teacher", "--published", 2)
    assert teacher["num_params"] == 2_453_729
    rows = sum(row["num_params"] for row in teacher["layers"])
    assert rows == teacher["num_params"]
    fast = answer(capsys, "summary", "teacher", "--fast")
    assert fast["num_params"] == 1_971_328
    for shape in ("--convs 1", "--convs 4 --kernel 3", "--hidden 1", "--hidden 3"):
        line = f"summary student --budget 250k {shape} --classes 100".split()
        assert answer(capsys, *line)["num_params"] == pytest.approx(250_000, rel=0.01)


def test_summary_of_a_named_network(capsys):
    found = answer(capsys, *"summary --arch wide-resnet-16-1 --classes 100".split())
    assert found["num_params"] == 180_916 and found["notes"] == []
    assert found["recipe"]["kind"] == "BornAgainRecipe"
    assert sum(row["num_params"] for row in found["layers"]) == 180_916
    assert "note: so it is" in answers.readable({"notes": ["so it is"]})


def test_summary_for_people_ends_with_the_count(capsys):
    assert main(["summary", "student", "--budget", "1M", "--convs", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("num_params:") and "logits" in lines[-2]


def test_summary_says_by_which_rule_widths_are_chosen(capsys):
    line = "summary student --budget 1M --convs 3".split()
    rounded, exact = answer(capsys, *line), answer(capsys, *line, "--exact-widths")
    assert (rounded["width_rule"], exact["width_rule"]) == ("rounded", "exact")
    found = [each["recipe"]["architecture"] for each in (rounded, exact)]
    assert [each["filters"] for each in found] == [[64] * 3, [65] * 3]
    assert exact["num_params"] == 1_000_376  # as ever
    assert main(line) == 0
    assert re.search(r"^width_rule: +rounded$", capsys.readouterr().out, re.MULTILINE)


def test_a_run_of_exact_widths_is_found_by_the_same_command(capsys, tmp_path):
    line = "baseline --budget 30k --convs 2".split()
    line += [*SHORT, *DIGITS, "--workdir", tmp_path]
    exact = answer(capsys, *line, "--exact-widths")
    assert answer(capsys, *line) == exact and exact["width_rule"] == "exact"
    assert main([*map(str, line)]) == 0
    assert re.search(r"^width_rule: +exact$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.exports
def test_teacher_evaluate_and_export(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "TIMED_CALLS", (1, 2))
    widths = ["--filters", "2,3,4", "--dense", "5"]
    command = ["teacher", *widths, *SHORT, *DIGITS, "--workdir", tmp_path / "runs"]
    made = answer(capsys, *command)
    expected = {"model", "num_params", "val_accuracy", "test_accuracy"}
    assert expected <= set(made)
    assert answer(capsys, *command) == made  # from what was kept of it
    shutil.rmtree(tmp_path / "runs" / finished.FOLDER)
    assert answer(capsys, *command) == made  # from its run

    of_file = answer(capsys, "evaluate", made["model"], *DIGITS)
    of_saved = answer(capsys, "evaluate", made["saved_model"], *DIGITS)
    assert of_file == of_saved
    assert of_file["num_examples"] == 359
    assert of_file["accuracy"] == pytest.approx(made["test_accuracy"])

    exported = answer(capsys, "export", made["model"], "--name", "tiny", *DIGITS)
    assert exported["saved_model"] == "saved_models/tiny"
    assert (tmp_path / "saved_models" / "tiny" / "card.json").is_file()
    difference = exported["parity"]["largest_difference"]
    assert difference <= exported["parity"]["tolerance"]
    card = json.loads((tmp_path / "saved_models" / "tiny" / "card.json").read_text())
    assert card["export_images"] == "images of digits"
    # The card knows the data set, --dataset need not be named again.
    forms = ["--format", "keras", "saved_model", "--name", "both"]
    both = answer(capsys, "export", made["model"], *forms)
    assert set(both["exports"]) == {"keras", "saved-model"}
    scored = answer(capsys, "evaluate", "saved_models/both/model.keras", *DIGITS)
    assert scored == of_file
    assert main(["export", made["model"], "--fold-bottleneck", "--name", "none"]) == 2
    assert "no linear bottleneck" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "saved_models").iterdir()) == [
        "both",
        "tiny",
    ]


def test_the_answer_for_people_says_what_to_do_next(capsys, tmp_path):
    line = "baseline --budget 30k --convs 2 --split-seed 3".split()
    assert main([*line, *SHORT, *DIGITS, "--workdir", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert re.match(r"baseline [\d.]+ % of the test images, [\d,]+ weights, ", out)
    assert re.search(r"^model: +\S+model.keras$", out, re.MULTILINE)
    assert "digest" not in out and "seconds" not in out
    assert "evaluate" in out and "--dataset digits --split-seed 3" in out


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("student --budget 10M --convs 3", 6),
        ("student --budget 1M --hidden 5", 9),
        ("baseline --budget 10M --convs 4", 8),
        ("teacher", 18),
        ("teacher --tie-dropout", 17),
    ],
)
def test_spaces_are_printed_without_training(line, count, capsys, tmp_path):
    options = ["--space", "--fix", "learning_rate=0.012", "--workdir", tmp_path]
    told = answer(capsys, *line.split(), *options)["space"]
    assert len(told) == count
    rate = next(row for row in told if row["name"] == "learning_rate")
    assert (rate["fixed"], rate["scale"]) == (0.012, "log")
    assert main([*line.split(), *map(str, options)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == count
    assert table[0].split()[0] == "learning_rate" and "fixed at 0.012" in table[0]
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_search_and_its_best_recipe(capsys, tmp_path):
    here = [*DIGITS, "--workdir", tmp_path]
    line = ["baseline", "--budget", "20k", "--convs", "2", "--trials", "2", *SHORT]
    found = answer(capsys, *line, "--fix", "dropout_dense=0.1", "--oracle", "gp", *here)
    expected = {"num_params", "val_accuracy", "test_accuracy", "saved_model", "model"}
    assert expected | {"results", "seconds", "best_recipe", "search"} <= set(found)
    assert found["trials"] == 2
    assert found["recipe"]["architecture"]["dropout_rates"][-1] == 0.1
    # The best recipe trained alone is the best trial.
    alone = answer(capsys, "baseline", "--recipe", found["best_recipe"], *here)
    assert alone["weights_digest"] == found["weights_digest"]
    assert alone["test_accuracy"] == found["test_accuracy"]


@pytest.mark.slow
def test_a_set_with_members_is_made_extended_verified_and_learned(capsys, tmp_path):
    here = [*DIGITS, "--workdir", tmp_path]
    teachers = [
        answer(capsys, "teacher", "--filters", widths, "--dense", "5", *SHORT, *here)
        for widths in ("2,3,4", "2,3,5", "3,3,4")
    ]
    paths = [teacher["model"] for teacher in teachers]
    beam = ["--force", "--direct_running_mode=in_memory"]
    keep = ["--keep-members", "--logits-dtype", "float16", "--store", "replay"]
    first = [*here, "--passes", "1", *keep, *beam]
    made = answer(capsys, "precompute", "--teacher", *paths[:2], *first)
    path = made["distillation_set"]
    assert made["members"] == [1, 2]
    more = ["--extend", path, *here, *beam]
    joined = answer(capsys, "precompute", "--teacher", paths[2], *more)
    assert (joined["members"], joined["views"]) == ([3], made["views"])
    assert joined["content_digest"] != made["content_digest"]
    longer = answer(capsys, "precompute", "--teacher", *paths, "--passes", "2", *more)
    assert longer["views"] == 2 * made["views"]

    verified = answer(capsys, "verify", path, "--sample", 2000, *here)
    assert verified["checksums_ok"] is True and verified["views"] >= 2000
    assert verified["largest_logit_difference"] <= verified["tolerance"]

    student = "student --budget 30k --convs 2 --passes 1 --distillation-set".split()
    of_all = answer(capsys, *student, path, *SHORT, *here)
    chosen = ["--members", "1,3", "--averaging", "mean-probabilities"]
    of_two = answer(capsys, *student, path, *chosen, *SHORT, *here)
    assert of_two["model"] != of_all["model"]
    assert of_two["distillation_set"]["members"] == [1, 3]


@pytest.mark.slow
def test_the_fast_teacher_s_student_on_digits(capsys, tmp_path):
    here = ["--dataset", "digits", "--quick", "--workdir", tmp_path]
    line = "student --budget 100k --convs 2 --fast --passes 6 --epochs 6".split()
    made = answer(capsys, *line, "--store", "replay", *here)
    teacher = made["chain"]["teachers"][0]
    assert teacher["recipe"]["kind"] == "FastTeacherRecipe"
    assert teacher["val_accuracy"] > 0.95 and teacher["val_accuracy_mirrored"] > 0.9
    assert made["val_accuracy"] > 0.8
    again = answer(capsys, "teacher", "--fast", *here)
    assert again["model"] == teacher["model"]


@pytest.mark.slow
def test_the_quick_student_learns_the_digits(capsys, tmp_path):
    line = "student --budget 1M --convs 3 --quick --dataset digits".split()
    made = answer(capsys, *line, "--workdir", tmp_path)
    assert made["test_accuracy"] >= 0.9
    assert abs(made["num_params"] - 1_000_000) <= 10_000
    expected = "val_accuracy teacher_agreement saved_model model results seconds"
    assert set(expected.split()) <= set(made)
    assert answer(capsys, *line, "--workdir", tmp_path) == made


@pytest.mark.slow
def test_where_views_come_from_is_said_and_changes_nothing(capsys, tmp_path):
    line = "student --budget 30k --convs 2 --epochs 4 --schedule cosine --json".split()
    own = "--quick --teachers 1 --passes 2 --store replay --resident always".split()
    assert main([*line, *own, *DIGITS, "--workdir", str(tmp_path / "held")]) == 0
    printed = capsys.readouterr()
    assert "each pass is held in memory, made once" in printed.err
    held = json.loads(printed.out)
    path = held["distillation_set"]["path"]
    other = ["--quick", "--resident", "never", "--distillation-set", path]
    piped = answer(capsys, *line, *other, *DIGITS, "--workdir", tmp_path / "piped")
    assert piped["weights_digest"] == held["weights_digest"]
    assert piped["test_accuracy"] == held["test_accuracy"]
