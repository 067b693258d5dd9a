"""reproduce: says what a table costs, then runs its lines, each a run of its own."""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdistill.cli import interpret, requested
from kerasdistill.cli import reproduced_tables as tables
from kerasdistill.cli.arguments import parse
from kerasdistill.errors import DivergedError
from kerasdistill.recipes import urban2017
from kerasdistill.runs import read_json
from pipelines.datasets import ImageData


def run_reproduce(
    asked: argparse.Namespace, *, commands: dict[str, Callable[..., dict[str, Any]]]
) -> dict[str, Any]:
    """reproduce: says what it costs, then runs what is missing, line by line."""
    import keras

    from kerasdistill.experiments import plans

    lines = tables.TABLES[asked.table](asked)
    steps = _steps(lines, asked)
    plan = plans.announce(plans.Plan(tuple(steps)), workdir=asked.workdir)
    about = {
        "table": asked.table,
        "scale": asked.scale,
        "length": tables.length(asked.scale, tables.ALL_EPOCHS.get(asked.table)),
        "commands": [shlex.join(line) for line in lines],
        "planned_seconds": plan.seconds,
        "planned_bytes": plan.num_bytes,
        "steps": [dataclasses.asdict(step) for step in plan.steps],
    }
    if asked.plan:
        return {**about, "text": "\n".join(about["commands"])}
    done, failed = [], []
    teachers: dict[str, str] = {}
    lost: set[str] = set()
    for number, line in enumerate(lines, start=1):
        words = [teachers.get(word, word) for word in line]
        command = shlex.join(words)
        print(f"{number} of {len(lines)}: {command}", file=sys.stderr)
        keras.utils.clear_session()  # what Keras keeps of models adds up
        try:
            if missing := lost.intersection(words):
                raise DivergedError(f"there is no {missing.pop().strip('<>')}")
            found = commands[line[0]](parse(words))
        except DivergedError as error:  # the others are worth having all the same
            print(f"error: {error}", file=sys.stderr)
            failed.append({"command": command, "error": str(error)})
            lost.add(tables.teacher_by(number))
            continue
        done.append({"command": command, **_score(found)})
        if "generations" in found:
            teachers[tables.teacher_by(number)] = found["generations"][0]["model"]
    told = {**about, "done": done, "failed": failed, "complete": not failed}
    return {**told, "text": _text(told, asked)}


def _score(found: dict[str, Any]) -> dict[str, Any]:
    """What a line was for: of generations, the last one's."""
    last = {**found, **found.get("generations", [{}])[-1]}
    names = ("accuracy", "perplexity")
    return {name: last[f"test_{name}"] for name in names if f"test_{name}" in last}


def _text(told: dict[str, Any], asked: argparse.Namespace) -> str:
    lines = []
    for each in told["done"]:
        score = f"{'-':>8}"
        if each.get("accuracy") is not None:
            score = f"{100 * each['accuracy']:6.2f} %"
        elif "perplexity" in each:
            score = f"{each['perplexity']:8.2f}"
        lines.append(f"{score}  {each['command']}")
    lines += [f"failed: {each['command']}: {each['error']}" for each in told["failed"]]
    workdir = shlex.quote(asked.workdir)
    return "\n".join(
        [*lines, "next:", f"  python -m kerasdistill.cli report --workdir {workdir}"]
    )


def _steps(lines: list[tables.Line], table: argparse.Namespace) -> list[Any]:
    """What each line will cost that is not finished, measured on this machine."""
    from kerasdistill.experiments import chain, plans

    steps, prepared = [], False
    data = None if table.table in tables.ALL_EPOCHS else interpret.data(table)
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
