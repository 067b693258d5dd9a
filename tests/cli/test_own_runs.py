"""A first day's runs on digits: their names, and what lists and reports say of them."""

import json
import re
from pathlib import Path

import pytest

from kerasdistill.cli.__main__ import main

from ..support import on_board

QUICK = ["--dataset", "digits", "--quick", "--precision", "float32"]
QUICK += ["--epochs", "2", "--schedule", "cosine"]
SMALL = ["--budget", "30k", "--convs", "1"]


def say(capsys, *words):
    """What a command prints for people."""
    code = main([*map(str, words)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


@pytest.mark.slow
def test_a_student_with_its_teacher_and_twin(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = say(capsys, "student", *QUICK, *SMALL, "--passes", "2")
    assert "tensorboard --logdir runs/tensorboard" in trained
    say(capsys, "baseline", *QUICK, *SMALL)
    model = re.search(r"^model: +(.*)", trained, re.MULTILINE)[1]
    say(capsys, "inspect", model, "--dataset", "digits", "--quick")
    seen = on_board.seen("runs/tensorboard").runs
    name = "student-30k-1conv-s0"
    assert {f"{name}/train", f"{name}/validation", f"{name}/inspect"} <= seen.keys()
    assert {"epoch_loss", "epoch_accuracy", "learning_rate"} <= seen[f"{name}/train"]
    assert "views of the first batch" in seen[f"{name}/train"]
    assert "disagreements" in seen[f"{name}/inspect"]
    report = say(capsys, "report", "--html", "page.html")
    # A narrow terminal has the names on lines of their own.
    assert re.search(rf"{name}.*\n( .*%.*\n)? +from teacher-.*-s0, ", report)
    assert Path("runs/report.png").is_file()
    listed = say(capsys, "runs", "list")
    assert name in listed and "baseline-30k-1conv-s0" in listed
    say(capsys, "runs", "clean", "--run", name)
    assert not Path("runs/tensorboard", name).exists()
    removed = say(capsys, "runs", "clean", "--unreferenced")
    assert "removed precompute-" in removed and "removed 1 runs" in removed
    assert "teacher-" in say(capsys, "runs", "list")


@pytest.mark.slow
def test_generations_and_texts_say_whether_the_teacher_is_better(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    line = ["--generations", "1", "--precision", "float32"]
    told = say(capsys, "born-again", "--dataset", "digits", "--quick", *line)
    assert re.search("teacher is better|better than the teacher|as good as", told)
    assert re.search(r"^model: +runs/generation-", told, re.MULTILINE)
    for split, count in (("train", 300), ("valid", 60), ("test", 60)):
        text = "the cat sat on the mat and saw a dog\n" * count
        (tmp_path / f"{split}.txt").write_text(text)
    line = ["--arch", "lstm", "--size", "small", "--quick", "--data-dir", ".", *line]
    told = say(capsys, "language-model", *line, "--born-again")
    assert re.search("teacher is better|better than the teacher|as good as", told)
    assert "perplexity" in told
    answer = json.loads(say(capsys, "report", "--json"))
    named = {row["readable_name"]: row for row in answer["own_runs"]}
    (text,) = (name for name in named if name.startswith("language-model-generation-1"))
    assert named[text]["teacher"]["test_perplexity"] > 0
    assert any(name.startswith("generation-1-78k-wide-resnet") for name in named)
    assert all(row["dataset"] for row in named.values())
