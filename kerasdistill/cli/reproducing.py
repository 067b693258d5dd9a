"""reproduce: a table as a list of command lines, each of them a run of its own.

So a repetition goes on where it was, and anyone can run the lines one by one. At scale
S a training has round(160 S) epochs under the cosine schedule, and a set as many
passes, at least 1 each; at S = 1 the paper's own schedule ends a training, and there
are 160 passes. Students learn from the three published teachers, trained at the same
scale; the paper's ensemble of 16 comes from a search over teachers of round(129 S)
trials, at least 16. The paper doesn't say how many trials a student's search had: the
figure's 20 are ours.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.budget import Budget
from kerasdistill.cli import interpret, requested
from kerasdistill.cli.arguments import parse
from kerasdistill.errors import DivergedError
from kerasdistill.recipes import urban2017
from kerasdistill.reports import paper
from kerasdistill.runs import read_json
from pipelines.datasets import ImageData

TEACHER_TRIALS, ENSEMBLE, FIGURE_TRIALS = 129, 16, 20
Line = list[str]


def run_reproduce(
    asked: argparse.Namespace, *, commands: dict[str, Callable[..., dict[str, Any]]]
) -> dict[str, Any]:
    """reproduce: says what it costs, then runs what is missing, line by line."""
    import keras

    from kerasdistill.experiments import plans

    lines = TABLES[asked.table](asked)
    data = interpret.data(asked)
    plan = plans.announce(plans.Plan(tuple(_steps(lines, data))), workdir=asked.workdir)
    about = {
        "table": asked.table,
        "scale": asked.scale,
        "length": _length(asked.scale),
        "commands": [shlex.join(line) for line in lines],
        "planned_seconds": plan.seconds,
        "planned_bytes": plan.num_bytes,
        "steps": [dataclasses.asdict(step) for step in plan.steps],
    }
    if asked.plan:
        return {**about, "text": "\n".join(about["commands"])}
    done, failed = [], []
    for number, line in enumerate(lines, start=1):
        print(f"{number} of {len(lines)}: {shlex.join(line)}", file=sys.stderr)
        keras.utils.clear_session()  # what Keras keeps of models adds up
        try:
            found = commands[line[0]](parse(line))
            done.append({"command": shlex.join(line), "accuracy": _accuracy(found)})
        except DivergedError as error:  # the others are worth having all the same
            print(f"error: {error}", file=sys.stderr)
            failed.append({"command": shlex.join(line), "error": str(error)})
    told = {**about, "done": done, "failed": failed, "complete": not failed}
    return {**told, "text": _text(told, asked)}


def _accuracy(found: dict[str, Any]) -> float | None:
    return found.get("test_accuracy")


def _text(told: dict[str, Any], asked: argparse.Namespace) -> str:
    lines = [
        f"{100 * each['accuracy']:6.2f} %  {each['command']}"
        if each["accuracy"] is not None
        else f"{'-':>8}  {each['command']}"
        for each in told["done"]
    ]
    lines += [f"failed: {each['command']}: {each['error']}" for each in told["failed"]]
    workdir = shlex.quote(asked.workdir)
    return "\n".join(
        [*lines, "next:", f"  python -m kerasdistill.cli report --workdir {workdir}"]
    )


def _length(scale: float) -> int:
    return max(1, round(interpret.PAPER_PASSES * scale))


def _common(asked: argparse.Namespace) -> Line:
    words = ["--workdir", asked.workdir, "--dataset", asked.dataset]
    if asked.data_dir is not None:
        words += ["--data-dir", asked.data_dir]
    words += ["--seed", str(asked.seed), "--split-seed", str(asked.split_seed)]
    words += ["--precision", asked.precision, *["--quick"] * asked.quick]
    return words


def _trained(asked: argparse.Namespace) -> Line:
    """How long a training is, and all that is common."""
    length = []
    if asked.scale < 1:
        length = ["--epochs", str(_length(asked.scale)), "--schedule", "cosine"]
    return [*length, *_common(asked)]


def _searched(asked: argparse.Namespace, key: str, trials: int | None) -> Line:
    if trials is None:
        return []
    folder = Path(asked.workdir, f"reproduce-{key}-{asked.scale:g}-{asked.seed}")
    return ["--trials", str(trials), "--search", str(folder)]


def _fits(asked: argparse.Namespace, budget: str) -> bool:
    most = asked.max_budget
    return most is None or paper.BUDGETS[budget] <= Budget.parse(most).num_params


def _family(key: str) -> Line:
    what, count = key.split("-")
    return [f"--{what}", count]


def _baselines(asked: argparse.Namespace, trials: int | None) -> list[Line]:
    return [
        ["baseline", "--budget", "10M", *_family(key)]
        + [*_searched(asked, f"baseline-{key}", trials), *_trained(asked)]
        for key in paper.FAMILIES
        if key.startswith("convs") and _fits(asked, "10M")
    ]


def _students(asked: argparse.Namespace, trials: int | None) -> list[Line]:
    return [
        ["student", "--budget", budget, *_family(key)]
        + [*_searched(asked, f"student-{budget}-{key}", trials), *_signal(asked)]
        for budget in paper.BUDGETS
        for key in paper.FAMILIES
        if _fits(asked, budget)
    ]


def _signal(asked: argparse.Namespace) -> Line:
    words = ["--passes", str(_length(asked.scale)), *_trained(asked)]
    if asked.store is not None:
        words += ["--store", asked.store]
    # Last, as it takes any number of words.
    teachers = ["--teachers", str(len(urban2017.PUBLISHED_TEACHERS))]
    return words + (["--teacher", *asked.teacher] if asked.teacher else teachers)


def urban_table_1(asked: argparse.Namespace) -> list[Line]:
    """Baselines, the published teachers, and an ensemble of 16 found by a search."""
    trials = max(ENSEMBLE, round(TEACHER_TRIALS * asked.scale))
    search = _searched(asked, "teachers", trials)
    return [
        *_baselines(asked, asked.trials),
        *(
            ["teacher", "--published", str(number), *_trained(asked)]
            for number in range(1, len(urban2017.PUBLISHED_TEACHERS) + 1)
        ),
        ["teacher", *search, *_trained(asked)],
        ["ensemble", "--from-search", search[-1], "--select", "top"]
        + ["--size", str(ENSEMBLE), *_common(asked)],
    ]


def urban_table_2(asked: argparse.Namespace) -> list[Line]:
    """Students of every family and budget, and Ba & Caruana's shallow one."""
    shallow = ["student", "--preset", "snn-ecnn-mimic-30k", *_signal(asked)]
    most = asked.max_budget
    fits = most is None or Budget.parse(most).num_params >= 70_900_938
    return [*_students(asked, asked.trials), *[shallow] * fits]


def urban_figure_1(asked: argparse.Namespace) -> list[Line]:
    """A search for every family and budget, and the baselines' at 10M."""
    trials = asked.trials or FIGURE_TRIALS
    return [*_students(asked, trials), *_baselines(asked, trials)]


# A table's name -> its command lines; those of the second paper's verbs go here too.
TABLES: dict[str, Callable[[argparse.Namespace], list[Line]]] = {
    "urban-table-1": urban_table_1,
    "urban-table-2": urban_table_2,
    "urban-figure-1": urban_figure_1,
}


def _steps(lines: list[Line], data: ImageData) -> list[Any]:
    """What each line will cost that is not finished, measured on this machine."""
    from kerasdistill.experiments import chain, plans

    steps, prepared = [], False
    for line in lines:
        asked = parse(line)
        # The words that tell lines apart come first.
        name = shlex.join(line[:5])
        if _search_is_done(asked):
            continue
        if line[0] not in ("student", "baseline", "teacher"):
            steps.append(plans.Step(name, None))
            continue
        if line[0] != "student":
            steps += _labelled_step(asked, name, data)
            continue
        wanted = interpret.chain_of(asked, _student_recipe(asked, data))
        if not prepared:  # teachers and the set are the same for all students
            whole = chain.plan(wanted, data=data, workdir=asked.workdir)
            steps += [step for step in whole.steps if step.name != "student"]
            prepared = True
        step = chain.student_plan(wanted, data=data, workdir=asked.workdir)
        steps += [_times(each, asked, name) for each in step]
    return steps


def _student_recipe(asked: argparse.Namespace, data: ImageData) -> Any:
    from kerasdistill.cli.distilling_options import SOFT_LOSSES

    make = requested.student_maker(asked, urban2017.student, losses=SOFT_LOSSES)
    return requested.trained_as_asked(make(data), asked)


def _labelled_step(asked: argparse.Namespace, name: str, data: ImageData) -> list[Any]:
    from kerasdistill.experiments import costs, teacher, training
    from kerasdistill.models import student as student_model

    if asked.verb == "teacher":
        recipe = requested.teacher_recipe(asked)
    else:
        recipe = requested.student_maker(asked, urban2017.baseline)(data)
    recipe = requested.trained_as_asked(recipe, asked)
    run = None
    if asked.trials is None:
        known = {"kind": asked.verb, "data": data, "workdir": asked.workdir}
        run = training.run_directory(recipe, **known)
        if run.results() is not None:
            return []
    stream = training.labelled_stream(recipe, kind=asked.verb, data=data)
    build = student_model.build
    if asked.verb == "teacher":
        build = teacher.builder(recipe, data)
    made_of = {"stream": stream, "data": data, "run": run}
    step = costs.plan_training(name, build, recipe, **made_of)
    return [_times(step, asked, name)]


def _search_is_done(asked: argparse.Namespace) -> bool:
    if getattr(asked, "trials", None) is None:
        return False
    results = Path(asked.search, "results.json")
    return results.exists() and read_json(results)["max_trials"] >= asked.trials


def _times(step: Any, asked: argparse.Namespace, name: str) -> Any:
    """A step of a line; of a search, for all its trials that have not ended."""
    count = 1
    if getattr(asked, "trials", None) is not None:
        from tuners import record

        count = max(1, asked.trials - len(record.trials(Path(asked.search))))
        name = f"{name}, {count} trials"
    return dataclasses.replace(step, name=name, seconds=count * step.seconds)
