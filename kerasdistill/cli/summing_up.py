"""What a finished training is worth, in the words of one who looks at it once."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill import boards, terminal
from kerasdistill.reports import own_words
from kerasdistill.reports.tables import percent

_FAR_APART = 0.05  # of validation and test
_WEAK = 2.0  # times chance
_BETTER = 0.02  # than a teacher, from which on that is strange


def summary(answer: dict[str, Any]) -> list[str]:
    """One line, and a warning where one is due.

    Such as "teacher 69.4 % → student 70.0 % of the test images, 250,982 weights (2.1
    times fewer), agreement 65 %, 1.0 MB".
    """
    if "test_perplexity" in answer:
        words = f"perplexity {answer['test_perplexity']:.2f} on the test text, "
        words += f"{answer['val_perplexity']:.2f} on the validation text"
        return [f"{words}, {answer['num_params']:,} weights{_size(answer)}"]
    right, kind = _accuracy(answer), answer.get("kind", "model")
    what, taught = f"{kind} {percent(right)}", _accuracy(answer, "teacher_")
    if taught is not None:
        what = f"teacher {percent(taught)} → {what}"
    where = "test" if answer.get("test_accuracy") is not None else "validation"
    weights = f"{answer['num_params']:,} weights"
    if (times := (answer.get("teacher_num_params") or 0) / answer["num_params"]) > 1:
        weights += f" ({times:.1f} times fewer)"
    agreement = ""
    if answer.get("teacher_agreement") is not None:
        agreement = f", agreement {percent(answer['teacher_agreement'])}"
    line = f"{what} of the {where} images, {weights}{agreement}{_size(answer)}"
    return [line, *_warning(answer)]


def of_generations(answer: dict[str, Any]) -> list[str]:
    """Whether the best student of a chain is better than its teacher."""
    if (best := _best(answer)) is None:
        return []
    teacher, text = answer["generations"][0], "test_perplexity" in best
    name = "test_perplexity" if text else "test_accuracy"
    if teacher.get(name) is None or best.get(name) is None:
        return []
    who = f"generation {best['generation']}, the best by validation"
    ours, theirs = (own_words.score(each, "test") for each in (best, teacher))
    ours += f" on the test {'text' if text else 'images'}"
    better = best[name] < teacher[name] if text else best[name] > teacher[name]
    if better:
        return [f"{who}, is better than the teacher: {ours} against {theirs}"]
    if best[name] == teacher[name]:
        return [f"{who}, is as good as the teacher: {ours}"]
    return [
        f"the teacher is better than its best student: {theirs} against {ours} of "
        f"{who}; train longer, or with another loss"
    ]


def with_best(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with its best student's model, and what lies beside it, as its own
    where it has none."""
    best = _best(answer)
    if best is None or not isinstance(best.get("model"), str):
        return answer
    beside = Path(best["model"]).with_name("saved_model")
    own = {"model": best["model"], "saved_model": str(beside)}
    return {**own, "num_params": best["num_params"], **answer}


def _best(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The student with the best validation score; None without any."""
    students = answer["generations"][1:]
    if all(row.get("val_perplexity") is not None for row in students):
        return min(students, key=lambda row: row["val_perplexity"], default=None)
    if any(row.get("val_accuracy") is None for row in students):
        return students[-1]
    return max(students, key=lambda row: row["val_accuracy"], default=None)


def _size(answer: dict[str, Any]) -> str:
    path = Path(answer["model"])
    return f", {path.stat().st_size / 1e6:.1f} MB" if path.is_file() else ""


def next_steps(answer: dict[str, Any], *, same_data: Sequence[str]) -> list[str]:
    """Commands that lead on, in the form in which this one was typed."""
    model, program = shlex.quote(answer["model"]), terminal.program()
    saved = shlex.quote(answer["saved_model"])
    lines = [f"{program} evaluate {saved} {shlex.join(same_data)}"]
    if "test_perplexity" not in answer:
        lines += [f"{program} inspect {model}", f"{program} export {model} --all"]
    run = Path(answer["model"]).parent
    inside = (run / boards.FOLDER).is_dir()  # as older versions kept it
    logdir = run if inside else run.parent / boards.FOLDER
    lines += [f"tensorboard --logdir {shlex.quote(str(logdir))}"]
    return ["next:", *(f"  {line.rstrip()}" for line in lines)]


def next_for(row: dict[str, Any]) -> list[str]:
    """Commands that lead on from a row of a report; none where its files are not."""
    run, program = Path(row["path"]).parent, terminal.program()
    if row["kind"] == "precompute" and (stored := run / "distillation_set").is_dir():
        place = shlex.quote(str(stored))
        lines = [f"{program} inspect {place}"]
        how = f"--budget 1M --convs 3 --distillation-set {place}"
        return [*lines, f"{program} student {how}"]
    if not (model := run / "model.keras").is_file():
        return []
    place = shlex.quote(str(model))
    if row["test_perplexity"] is not None:
        return [f"{program} evaluate {place} --data-dir FOLDER"]
    lines = [f"{program} inspect {place}", f"{program} export {place} --all"]
    if row["kind"] in ("teacher", "ensemble"):
        lines += [f"{program} student --budget 1M --convs 3 --teacher {place}"]
    return lines


def _accuracy(answer: dict[str, Any], of: str = "") -> float | None:
    test = answer.get(f"{of}test_accuracy")
    return answer.get(f"{of}val_accuracy") if test is None else test


def _warning(answer: dict[str, Any]) -> list[str]:
    """The most important one, if any."""
    right, taught = _accuracy(answer), _accuracy(answer, "teacher_")
    chance = 1 / max(2, answer.get("num_classes") or 2)
    on_val, on_test = answer.get("val_accuracy"), answer.get("test_accuracy")
    if taught is not None and taught < _WEAK * chance:
        told = f"the teacher is right for {percent(taught)}, little more than chance: "
        told += "train it further, or check its classes and pixels"
    elif right is not None and right < 1.5 * chance:
        told = "it is hardly better than chance: train it longer, or with another "
        told += "learning rate"
    elif None not in (taught, right) and right > taught + _BETTER:
        told = "the student is much better than its teacher; labels alone may be "
        told += "better still: compare with baseline"
    elif None not in (on_val, on_test) and abs(on_val - on_test) > _FAR_APART:
        told = f"validation ({percent(on_val)}) and test ({percent(on_test)}) lie far "
        told += "apart: their images differ, or are few"
    else:
        return []
    return [f"warning: {told}"]
