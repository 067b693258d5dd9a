"""Verbs that succeed, through `main`: what they print and what they leave."""

import json

import pytest

from kerasdistill.cli import answers
from kerasdistill.cli.__main__ import main

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


def test_teacher_evaluate_and_export(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    widths = ["--filters", "2,3,4", "--dense", "5"]
    command = ["teacher", *widths, *SHORT, *DIGITS, "--workdir", tmp_path / "runs"]
    made = answer(capsys, *command)
    expected = {"model", "num_params", "val_accuracy", "test_accuracy"}
    assert expected <= set(made)
    again = answer(capsys, *command)
    assert again == made

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


def test_the_answer_for_people_says_what_to_do_next(capsys, tmp_path):
    line = "baseline --budget 30k --convs 2 --split-seed 3".split()
    assert main([*line, *SHORT, *DIGITS, "--workdir", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("test_accuracy:")
    assert "evaluate" in out and "--dataset digits --split-seed 3" in out


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
def test_the_quick_student_learns_the_digits(capsys, tmp_path):
    line = "student --budget 1M --convs 3 --quick --dataset digits".split()
    made = answer(capsys, *line, "--workdir", tmp_path)
    assert made["test_accuracy"] >= 0.9
    assert abs(made["num_params"] - 1_000_000) <= 10_000
    expected = "val_accuracy teacher_agreement saved_model model results seconds"
    assert set(expected.split()) <= set(made)


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
