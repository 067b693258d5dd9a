"""The arithmetic of plans and what people read of them."""

import time

import pytest

from kerasdistill.errors import UserError
from kerasdistill.experiments import plans
from kerasdistill.experiments.plans import Plan, Step

TEACHER = Step("teacher", 1500.0, 3_000_000, how="10 epochs")
ELSEWHERE = Step("distillation set", None, 20_000_000_000)


def test_a_plan_adds_up():
    plan = Plan((TEACHER, ELSEWHERE))
    assert plan.seconds == 1500.0 and plan.num_bytes == 20_003_000_000
    assert plan.step("teacher") is TEACHER and plan.step("student") is None
    assert Plan(()).seconds == 0 and Plan(()).num_bytes == 0


@pytest.mark.parametrize(
    ("planned", "took", "line"),
    [
        (1500.0, 1620.0, "planned 25 min, took 27 min: 8 % more"),
        (100.0, 75.0, "planned 2 min, took 75 s: 25 % less"),
        (80.0, 80.2, "planned 80 s, took 80 s: as planned"),
        (0.0, 3.0, "planned 0 s, took 3 s"),
    ],
)
def test_planned_against_real(planned, took, line):
    assert plans.compared(planned, took) == line


def test_announcing_says_every_step_and_the_sum(tmp_path, capsys):
    small = Step("set", None, 20_000)
    assert plans.announce(Plan((TEACHER, small)), workdir=tmp_path).steps[0] is TEACHER
    assert capsys.readouterr().err.splitlines() == [
        "step 1: teacher (10 epochs): about 25 min, 3 MB",
        "step 2: set: time not known, 20 kB",
        f"in all about 25 min and 3.02 MB under {tmp_path}; "
        "interrupt and repeat at will",
    ]
    plans.announce(Plan(()), workdir=tmp_path)
    assert capsys.readouterr().err == ""


def test_a_disk_too_small_is_refused_up_front(tmp_path):
    with pytest.raises(UserError, match="GB free, 1000000000.00 GB are needed"):
        plans.announce(Plan((Step("set", 1.0, 10**18),)), workdir=tmp_path)


def test_telling_gives_the_fields_of_the_results(monkeypatch, capsys):
    monkeypatch.setattr(time, "monotonic", lambda: 1720.0)
    fields = plans.tell(TEACHER, since=100.0)
    assert fields == {"planned_seconds": 1500.0, "process_seconds": 1620.0}
    assert capsys.readouterr().err == "teacher: planned 25 min, took 27 min: 8 % more\n"
    unknown = plans.tell(ELSEWHERE, since=1700.0)
    assert unknown == {"planned_seconds": None, "process_seconds": 20.0}
    assert capsys.readouterr().err == ""

    steps = [plans.kept("teacher", fields), plans.kept("set", unknown)]
    plans.tell_all(steps)  # one known step needs no sum
    assert capsys.readouterr().err == ""
    plans.tell_all([*steps, steps[0]])
    assert capsys.readouterr().err == "in all: planned 50 min, took 54 min: 8 % more\n"


def test_durations_and_sizes():
    spoken = [plans.duration(seconds) for seconds in (0.4, 89, 90, 5399, 5400)]
    assert spoken == ["0 s", "89 s", "2 min", "90 min", "1.5 h"]
    assert [plans.size(n) for n in (999, 3_116, 19.9e9, 2e15)] == [
        "999 B",
        "3.12 kB",
        "19.9 GB",
        "2e+03 TB",
    ]
