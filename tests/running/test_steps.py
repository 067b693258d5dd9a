"""Stories with made-up steps: what is told, what is done, what is not done again."""

import time

import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.running import steps
from kerasdistill.running.steps import Cost, OnlyPlanned, Plan, Step
from kerasdistill.runs import RunDirectory
from tests.conftest import remounted

TEACHER = Cost(1500.0, 3_000_000, how="10 epochs")
ELSEWHERE = Cost(None, 20_000_000_000)


class Story:
    """A teacher, a set made with it, and a student of the set; each notes its work."""

    def __init__(self, workdir):
        self.workdir, self.log = workdir, []

    def step(self, name, *, needs=(), **changes):
        def place(results):
            made_with = [results[each]["made"] for each in needs]
            return RunDirectory.open(self.workdir, name, {"made_with": made_with})

        def cost(folder, results):
            self.log.append(f"cost of {name}, {[results[n]['made'] for n in needs]}")
            return Cost(2.0, 10, how="by heart")

        def work(folder, results):
            self.log.append(f"work of {name}")
            return {"made": name}

        def stand_in(scratch):
            assert scratch.is_dir()
            return {"made": f"like {name}"}

        made = {"cost": cost, "needs": tuple(needs), "stand_in": stand_in, **changes}
        return Step(name, place, work, **made)

    def steps(self):
        return [
            self.step("teacher"),
            self.step("joined", needs=["teacher"], cost=None),
            self.step("set", needs=["teacher"]),
            self.step("student", needs=["set"]),
        ]

    def run(self, **how):
        return steps.run(self.steps(), workdir=self.workdir, **how)


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path)


def test_a_story_is_told_and_done_in_order(story, capsys):
    ended = []
    done = story.run(ended=lambda name, results: ended.append(name))
    assert story.log == [
        "cost of teacher, []",
        "cost of set, ['like teacher']",
        "cost of student, ['like set']",
        *(f"work of {name}" for name in ("teacher", "joined", "set", "student")),
    ]
    assert ended == ["teacher", "joined", "set", "student"]
    told = capsys.readouterr().err
    assert "step 2: set (by heart): about 2 s, 10 B" in told
    assert "student: planned 2 s" in told and "in all: planned 6 s" in told
    student = done.results["student"]
    assert student["planned_seconds"] == 2.0 and student["process_seconds"] >= 0
    assert [each["name"] for each in student["plan"]] == ["teacher", "set", "student"]
    assert "planned_seconds" not in done.results["joined"]
    assert done.took == student["plan"]


def test_what_is_finished_is_neither_measured_nor_done_again(story, capsys):
    first = story.run().results
    story.log.clear()
    capsys.readouterr()
    again = story.run()
    assert story.log == [] and again.results == first and again.took == []
    assert capsys.readouterr().err == ""


def test_a_story_goes_on_where_it_was(story):
    *before, last = story.steps()
    steps.run(before, workdir=story.workdir)
    story.log.clear()
    done = story.run()
    assert story.log == ["cost of student, ['set']", "work of student"]
    assert [each["name"] for each in done.results["student"]["plan"]] == ["student"]


def test_only_a_plan_writes_nothing(story, capsys):
    with pytest.raises(OnlyPlanned) as stopped:
        story.run(only_plan=True)
    plan = stopped.value.plan
    assert [*plan.costs] == ["teacher", "set", "student"] and plan.seconds == 6.0
    assert not any(story.workdir.iterdir())
    assert plan.to_json() == {
        "planned_seconds": 6.0,
        "planned_bytes": 30,
        "steps": [
            {"name": name, "seconds": 2.0, "num_bytes": 10, "how": "by heart"}
            for name in plan.costs
        ],
    }
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_a_step_that_checks_works_every_time(story):
    step = story.step("set", checks=True)
    for _ in range(2):
        steps.run([step], workdir=story.workdir)
    assert story.log == ["cost of set, []", "work of set", "work of set"]


def test_nothing_left_all_the_same(story):
    step = story.step("set", cost=lambda folder, results: None)
    done = steps.run([step], workdir=story.workdir)
    assert done.took == [] and "planned_seconds" not in done.results["set"]


def test_a_plan_adds_up():
    plan = Plan({"teacher": TEACHER, "set": ELSEWHERE})
    assert plan.seconds == 1500.0 and plan.num_bytes == 20_003_000_000
    assert Plan({}).seconds == 0 and Plan({}).num_bytes == 0


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
    assert steps.compared(planned, took) == line


def test_announcing_says_every_step_and_the_sum(tmp_path, capsys):
    plan = Plan({"teacher": TEACHER, "set": Cost(None, 20_000)})
    assert steps.announce(plan, workdir=tmp_path) is plan
    assert capsys.readouterr().err.splitlines() == [
        "step 1: teacher (10 epochs): about 25 min, 3 MB",
        "step 2: set: time not known, 20 kB",
        f"in all about 25 min and 3.02 MB under {tmp_path}; "
        "interrupt and repeat at will",
    ]
    steps.announce(Plan({}), workdir=tmp_path)
    assert capsys.readouterr().err == ""


def test_a_disk_too_small_is_refused_up_front(tmp_path):
    with pytest.raises(UserError, match="GB free, 1000000000.00 GB are needed"):
        steps.announce(Plan({"set": Cost(1.0, 10**18)}), workdir=tmp_path)


def test_telling_gives_the_fields_of_the_results(monkeypatch, capsys):
    monkeypatch.setattr(time, "monotonic", lambda: 1720.0)
    fields = steps.tell("teacher", TEACHER, since=100.0)
    assert fields == {"planned_seconds": 1500.0, "process_seconds": 1620.0}
    assert capsys.readouterr().err == "teacher: planned 25 min, took 27 min: 8 % more\n"
    unknown = steps.tell("set", ELSEWHERE, since=1700.0)
    assert unknown == {"planned_seconds": None, "process_seconds": 20.0}
    assert capsys.readouterr().err == ""

    took = [steps.kept("teacher", fields), steps.kept("set", unknown)]
    steps.tell_all(took)  # one known step needs no sum
    assert capsys.readouterr().err == ""
    steps.tell_all([*took, took[0]])
    assert capsys.readouterr().err == "in all: planned 50 min, took 54 min: 8 % more\n"


def test_durations_and_sizes():
    spoken = [steps.duration(seconds) for seconds in (0.4, 89, 90, 5399, 5400)]
    assert spoken == ["0 s", "89 s", "2 min", "90 min", "1.5 h"]
    assert [steps.size(n) for n in (999, 3_116, 19.9e9, 2e15)] == [
        "999 B",
        "3.12 kB",
        "19.9 GB",
        "2e+03 TB",
    ]


def test_finished_steps_need_no_lock(story):
    done = story.run()
    folder = RunDirectory.open(story.workdir, "teacher", {"made_with": []})
    story.log.clear()
    with folder:  # as another process might
        assert story.run().results == done.results
    assert not story.log


@pytest.mark.parametrize("checks", [False, True])
def test_finished_steps_on_a_read_only_disk(checks, small_disk):
    story = Story(small_disk(1 << 20) / "runs")
    first = [story.step("teacher", checks=checks)]
    done = steps.run(first, workdir=story.workdir)
    story.log.clear()
    remounted(story.workdir.parent, "ro")
    assert steps.run(first, workdir=story.workdir).results == done.results
    with pytest.raises(UserError, match="Read-only"):
        story.run()
    assert not story.log


def test_a_finished_step_of_another_request(story):
    story.run()
    request = {"made_with": ["teacher"]}
    folder = RunDirectory.open(story.workdir, "joined", request).path
    (folder / "recipe.json").write_text('{"made_with": ["others"]}')
    with pytest.raises(StaleArtifactError, match="made_with"):
        story.run()
