"""reproduce: what a table's commands cost, and where they go on."""

import json

import pytest

from kerasdistill.cli import (
    arguments,
    born_again,
    reproduced_tables,
    reproducing,
    requested,
)
from kerasdistill.cli.__main__ import main
from kerasdistill.errors import DivergedError
from kerasdistill.experiments.born_again import generations
from kerasdistill.experiments.language import (
    costs as language_costs,
)
from kerasdistill.experiments.language import (
    model as language_model,
)
from kerasdistill.experiments.language.saved import Models
from kerasdistill.recipes import base, reading, urban2017_presets
from kerasdistill.reports import paper
from kerasdistill.running import steps, timing
from kerasdistill.running.steps import Cost, Plan
from pipelines import datasets


def test_a_student_gets_the_model_of_an_earlier_command(tmp_path, capsys, monkeypatch):
    from kerasdistill.cli import commands

    def run(asked):
        if asked.arch == "wide-resnet-28-2":
            raise DivergedError("step 3")
        made = tmp_path / f"{asked.arch}.keras"
        taught.append((asked.arch, asked.teacher))
        return {"generations": [{"model": str(made)}, {"test_accuracy": 0.5}]}

    taught = []
    monkeypatch.setitem(commands.COMMANDS, "born-again", run)
    monkeypatch.setattr(reproducing, "plan", lambda lines, asked: Plan({}))
    line = ["reproduce", "ban-table-3", "--workdir", str(tmp_path), "--scale", "0.1"]
    assert main([*line, "--json"]) == 1
    wide = [f"wide-resnet-28-{k}" for k in (1, 5, 10)]
    assert taught == [
        *((arch, None) for arch in wide),
        *(("densenet-90-60", str(tmp_path / f"{arch}.keras")) for arch in wide),
    ]
    found = json.loads(capsys.readouterr().out)
    assert [each["error"] for each in found["failed"]] == [
        "step 3",
        "there is no generation 0 of command 2",
    ]


@pytest.fixture
def small(monkeypatch):
    """A table of one baseline, or two, that take moments."""

    def made(asked):
        end = [
            "--epochs",
            "1",
            "--schedule",
            "cosine",
            *reproduced_tables.common(asked),
        ]
        return [
            ["baseline", "--budget", budget, "--convs", "2", *end]
            for budget in ("30k", "40k")[: 1 + (asked.scale < 1)]
        ]

    monkeypatch.setitem(reproduced_tables.TABLES, "urban-table-1", made)


def test_plan_then_run_then_nothing_is_left(small, tmp_path, capsys, monkeypatch):
    few = {"train": 48, "validation": 24, "test": 24}
    monkeypatch.setattr(datasets, "QUICK_EXAMPLES", few)
    workdir = ["--workdir", str(tmp_path), "--dataset", "digits"]
    line = ["reproduce", "urban-table-1", *workdir, "--precision", "float32"]
    line += ["--quick"]
    assert main([*line, "--plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert len(planned["steps"]) == 1 and planned["planned_seconds"] > 0
    assert planned["commands"][0].startswith("baseline --budget 30k")
    assert not list(tmp_path.glob("*/results.json"))
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "step 1: baseline" in printed.err and "1 of 1: baseline" in printed.err
    assert f"report --workdir {tmp_path}" in printed.out
    written = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/results.json")}
    assert len(written) == 1
    assert main([*line, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["steps"] == [] and again["complete"] and len(again["done"]) == 1
    assert written == {p: p.stat().st_mtime_ns for p in written}


@pytest.fixture
def measured(monkeypatch):
    """Every network takes 0.1 s an image, and 0.05 s to be asked; which were asked."""
    networks = []

    def measure(recipe, *, scored, **_):
        assert recipe.training.batch_size == 16 and recipe.training.epochs == 2
        networks.append(recipe.architecture)
        return timing.Speed(
            step_seconds=1.6, scoring_rate=20.0, startup_seconds=0.0, num_params=10
        )

    monkeypatch.setattr(timing, "measure", measure)
    return networks


def planned(capsys, *words):
    assert main(["reproduce", *words, "--plan", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["steps"]


def test_what_generations_cost(measured, tmp_path, capsys):
    words = ["ban-table-3", "--scale", "0.01", "--dataset", "digits", "--quick"]
    words += ["--workdir", str(tmp_path), "--precision", "float32"]
    steps = planned(capsys, *words)
    assert len(steps) == 8 and len(measured) == 5  # each network once
    data = datasets.load("digits", quick=True)
    batches = -(-len(data.train) // 32)  # quick ones have 32 images
    scored = (2 * len(data.validation) + len(data.validation) + len(data.test)) / 20
    alone, taught = 2 * batches * 32 * 0.1, 2 * batches * 32 * 0.15
    assert steps[0]["name"] == "born-again --arch wide-resnet-28-1 --epochs 2"
    assert steps[0]["seconds"] == pytest.approx(alone + taught + 2 * scored)
    assert "<generation 0 of command 1>" in steps[4]["name"]
    assert steps[4]["seconds"] == pytest.approx(taught + scored)
    # What is finished costs nothing.
    (line, *_) = reproduced_tables.TABLES["ban-table-3"](
        arguments.parse(["reproduce", *words])
    )
    recipe = generations.recipe_of(born_again.recipe(arguments.parse(line)), 0)
    known = {"taught_by": None, "signal": None, "data": data, "workdir": tmp_path}
    with generations.run_directory(recipe, **known) as run:
        run.finish({"weights_digest": "d", "model": "m"})
    assert planned(capsys, *words)[0]["seconds"] == pytest.approx(taught + scored)


def test_what_language_models_cost(tmp_path, capsys, monkeypatch):
    """Networks of the paper's size take a minute to build, so none is."""
    recipes = []

    def training_cost(recipe, **how):
        recipes.append(recipe)
        return Cost(2.0)

    monkeypatch.setattr(language_costs, "training_cost", training_cost)
    for name in ("_shell", "_untrained", "_saved"):
        monkeypatch.setattr(language_model, name, lambda *_, **__: {})
    monkeypatch.setattr(Models, "load", lambda *_, **__: [])
    for name in ("train", "valid", "test"):
        (tmp_path / f"ptb.{name}.txt").write_text(" the end of it \n" * 400)
    words = ["--data-dir", str(tmp_path), "--workdir", str(tmp_path / "runs")]
    words += ["--quick", "--precision", "float32"]
    left = planned(capsys, "ban-table-6", *words)
    assert [step["name"] for step in left] == [
        f"language-model --arch {arch}, {model}"
        for arch in ("cnn-lstm", "lstm")
        for model in ("teacher", "generation 1")
    ]
    assert [each.training.loss for each in recipes] == ["hard-label", "ban+l"] * 2


def test_options_of_other_tables_are_refused(capsys):
    for line, option in (
        ("ban-table-2 --trials 3", "--trials"),
        ("ban-table-6 --max-budget 1M", "--max-budget"),
        ("urban-table-1 --teacher a.keras", "--teacher"),
        ("urban-table-1 --store replay", "--store"),
    ):
        assert main(["reproduce", *line.split()]) == 2
        assert f"{option} belongs to" in capsys.readouterr().err


def test_one_that_diverges_does_not_stop_the_others(
    small, tmp_path, capsys, monkeypatch
):
    from kerasdistill.cli import commands

    def run(asked):
        if asked.budget == "30k":
            raise DivergedError("step 3")
        return {"test_accuracy": 0.5}

    monkeypatch.setitem(commands.COMMANDS, "baseline", run)
    line = ["reproduce", "urban-table-1", "--workdir", str(tmp_path), "--scale", "0.1"]
    monkeypatch.setattr(reproducing, "plan", lambda lines, asked: Plan({}))
    assert main([*line, "--dataset", "digits", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["accuracy"] for each in found["done"]] == [0.5]
    assert found["failed"][0]["error"] == "step 3" and not found["complete"]


def test_students_of_a_table_share_one_chain(monkeypatch, tmp_path):
    stories = []
    monkeypatch.setattr(steps, "left", lambda story, workdir: stories.extend(story))
    words = f"reproduce urban-table-2 --scale 0.01 --max-budget 1M --workdir {tmp_path}"
    table = arguments.parse([*words.split(), "--dataset", "digits", "--quick"])
    made = reproduced_tables.TABLES[table.table](table)
    reproducing.plan(made, table)
    names = [step.name for step in stories]
    assert names[:5] == [
        *("teacher 1", "teacher 2", "teacher 3", "super teacher", "distillation set"),
    ]
    assert names[5] == "student --budget 1M --hidden 1"
    assert len(names) == len(set(names)) == 5 + len(made)


@pytest.mark.slow
def test_the_plan_of_students_counts_teachers_and_set_once(
    small, tmp_path, capsys, monkeypatch
):
    def made(asked):
        end = ["--epochs", "1", "--schedule", "cosine", "--passes", "1"]
        end += ["--teachers", "1", *reproduced_tables.common(asked)]
        search = ["--trials", "5", "--search", str(tmp_path / "search")]
        return [
            ["student", "--budget", "30k", "--convs", "2", *end],
            ["student", "--budget", "40k", "--convs", "2", *end],
            ["student", "--budget", "40k", "--convs", "2", *search, *end],
        ]

    monkeypatch.setitem(reproduced_tables.TABLES, "urban-table-2", made)
    line = ["reproduce", "urban-table-2", "--plan", "--dataset", "digits", "--quick"]
    assert main([*line, "--workdir", str(tmp_path), "--json"]) == 0
    left = json.loads(capsys.readouterr().out)["steps"]
    names = [step["name"] for step in left]
    assert names[0] == "teacher 1" and len(names) == 5
    assert names[-1].endswith("5 trials") and names[-2].startswith("student --budget")
    assert left[-1]["seconds"] > left[-2]["seconds"]


def test_preset(capsys):
    asked = arguments.parse("student --preset snn-ecnn-mimic-30k".split())
    recipe = requested.student_maker(asked)(None)
    assert recipe == urban2017_presets.snn_ecnn_mimic_30k()
    assert reading.from_json(base.to_json(recipe)) == recipe
    for more in ("--budget 1M", "--recipe a.json", "--trials 3"):
        line = f"student --preset snn-ecnn-mimic-30k {more}".split()
        assert main(line) == 2
    assert paper.URBAN_2.value("snn", "70M") == 85.8


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("reproduce", "table"),
        ("reproduce ban-table-9", "invalid choice"),
        ("reproduce urban-table-1 --scale 0", "above 0"),
        ("reproduce urban-table-1 --scale 2", "at most 1"),
        ("reproduce urban-table-2 --max-budget x", "budget 'x'"),
    ],
)
def test_bad_requests(line, fragment, capsys):
    assert main(line.split()) == 2
    assert fragment in capsys.readouterr().err
