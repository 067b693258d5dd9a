"""--plan: what each long verb would do, told without doing any of it."""

import json

import keras
import pytest

from kerasdistill.cli import arguments
from kerasdistill.cli.__main__ import main
from kerasdistill.running import timing
from pipelines.beam import probe

pytestmark = pytest.mark.measured

DIGITS = "--dataset digits --quick --precision float32"
SPEED = timing.Speed(
    step_seconds=0.5, scoring_rate=100.0, startup_seconds=1.0, num_params=1000
)


@pytest.fixture(autouse=True)
def measured(monkeypatch):
    """Nothing is trained or scored to find out how fast it goes."""
    monkeypatch.setattr(timing, "measure", lambda *_, **__: SPEED)
    speed = probe.WorkerSpeed(views_per_second=100.0, startup_seconds=1.0)
    monkeypatch.setattr(probe, "measure", lambda *_, **__: speed)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Two models of somebody else's, of grey 8x8 images."""
    folder = tmp_path_factory.mktemp("teachers")
    paths = [str(folder / f"{number}.keras") for number in (1, 2)]
    for path in paths:
        layers = [keras.Input((8, 8, 1)), keras.layers.Flatten()]
        keras.Sequential([*layers, keras.layers.Dense(10)]).save(path)
    return paths


@pytest.mark.parametrize("verb", arguments.PLANNED)
def test_every_long_verb_has_it(verb):
    parser = arguments.build_parser()
    options = arguments._options(parser, verb)
    assert {"--plan", "--dry-run"} <= set(options)


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("teacher", ["teacher"]),
        ("baseline --budget 30k --convs 2", ["baseline"]),
        ("baseline --budget 30k --convs 2 --trials 3", ["search for a baseline"]),
        (
            "student --budget 30k --convs 2 --teachers 2 --passes 2",
            ["teacher 1", "teacher 2", "distillation set", "student"],
        ),
        (
            "student --budget 30k --convs 2 --teachers 1 --passes 2 --trials 3",
            ["teacher 1", "distillation set", "search for a student"],
        ),
        (
            "born-again --generations 2 --teacher-signal stored",
            [
                *("generation 0", "distillation set for generation 1", "generation 1"),
                *("distillation set for generation 2", "generation 2"),
            ],
        ),
        ("precompute --passes 2 --force --teacher {teacher}", ["distillation set"]),
        ("ensemble --force --teacher {teacher} {other}", ["super teacher"]),
    ],
)
def test_steps_are_told_and_nothing_is_written(line, steps, teachers, tmp_path, capsys):
    words = line.format(teacher=teachers[0], other=teachers[1]).split()
    where = ["--workdir", str(tmp_path / "runs"), *DIGITS.split()]
    assert main([*words, *where, "--plan", "--json"]) == 0
    printed = capsys.readouterr()
    planned = json.loads(printed.out)
    assert [step["name"] for step in planned["steps"]] == steps
    known = [step["seconds"] or 0.0 for step in planned["steps"]]
    assert planned["planned_seconds"] == pytest.approx(sum(known))
    assert not (tmp_path / "runs").exists()
    assert main([*words, *where, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(f"step 1: {steps[0]}")


def test_what_is_finished_is_not_in_it(tmp_path, capsys):
    line = "baseline --budget 30k --convs 2 --epochs 1 --schedule cosine"
    words = [*line.split(), *DIGITS.split(), "--workdir", str(tmp_path)]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--plan"]) == 0
    assert capsys.readouterr().out == "nothing is left to do\n"
