"""What a training is worth, in a line, and the one warning that is due."""

import pytest

from kerasdistill.cli import answers, summing_up

STUDENT = {
    "kind": "student",
    "model": "runs/x/model.keras",
    "saved_model": "runs/x/saved_model",
    "num_params": 1000,
    "num_classes": 10,
    "val_accuracy": 0.7,
    "test_accuracy": 0.69,
    "teacher_agreement": 0.65,
    "teacher_val_accuracy": 0.75,
    "teacher_test_accuracy": 0.74,
    "teacher_num_params": 2100,
    "weights_digest": "abc",
    "seconds": 1.0,
    "distillation_set": {"path": "runs/set", "content_digest": "d"},
}


def test_a_student_beside_its_teacher():
    (line,) = summing_up.summary(STUDENT)
    assert line == (
        "teacher 74.00 % → student 69.00 % of the test images, 1,000 weights "
        "(2.1 times fewer), agreement 65.00 %"
    )
    told = answers.readable(STUDENT)
    assert told.startswith(line)
    lines = told.splitlines()
    assert "model:              runs/x/model.keras" in lines
    assert "distillation_set:   runs/set" in lines
    assert "abc" not in told and "seconds" not in told


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"teacher_test_accuracy": 0.15, "teacher_val_accuracy": 0.15}, "the teacher"),
        ({"test_accuracy": 0.11, "val_accuracy": 0.11}, "chance"),
        ({"test_accuracy": 0.8, "val_accuracy": 0.8}, "baseline"),
        ({"val_accuracy": 0.9}, "apart"),
        ({"test_accuracy": None}, None),
    ],
)
def test_at_most_one_warning(changes, word):
    _, *warnings = summing_up.summary({**STUDENT, **changes})
    assert len(warnings) == (word is not None)
    assert word is None or word in warnings[0]


@pytest.mark.parametrize(
    ("accuracy", "word"),
    [(0.8, "is better"), (0.7, "as good as"), (0.6, "the teacher is better")],
)
def test_generations_beside_their_teacher(accuracy, word):
    rows = [{"generation": 0, "val_accuracy": 0.7, "test_accuracy": 0.7}]
    rows += [{"generation": 1, "val_accuracy": accuracy, "test_accuracy": accuracy}]
    (line,) = summing_up.of_generations({"generations": rows})
    assert word in line


@pytest.mark.parametrize(
    ("perplexity", "word"),
    [(8.0, "is better"), (9.0, "as good as"), (10.0, "teacher is better")],
)
def test_generations_on_text(perplexity, word):
    scores = [{"val_perplexity": each, "test_perplexity": each} for each in (9.0, 8.5)]
    rows = [{"generation": 0, "model": "a", "num_params": 1000} | scores[0]]
    rows += [{"generation": 1, "model": "b", "num_params": 1000} | scores[0]]
    rows[1] |= {"val_perplexity": perplexity, "test_perplexity": perplexity}
    mean = {"members": [0, 1]} | scores[1]
    answer = {**STUDENT, **rows[1], "generations": rows, "ensembles": [mean]}
    lines = answers.readable(answer).splitlines()
    assert lines[1].split() == [
        *("generation", "0", "1,000"),
        *("perplexity", "9.00", "perplexity", "9.00", "a"),
    ]
    assert lines[3].split() == [
        *"mean of generations 0, 1 - perplexity 8.50 perplexity 8.50 -".split()
    ]
    assert word in lines[4] and f"perplexity {perplexity:.2f} on the test" in lines[4]


def test_a_text_has_perplexities():
    text = {**STUDENT, "val_perplexity": 130.25, "test_perplexity": 125.0}
    (line,) = summing_up.summary(text)
    assert line.startswith("perplexity 125.00 on the test text, 130.25")
    lines = summing_up.next_steps(text, same_data=[])
    assert not any("inspect" in line for line in lines)
