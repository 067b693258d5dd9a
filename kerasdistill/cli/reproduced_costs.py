"""What the lines of a table cost, measured before any of them runs."""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill.cli import born_again, interpret, language, requested
from kerasdistill.cli import reproduced_tables as tables
from kerasdistill.cli.arguments import parse
from kerasdistill.recipes import urban2017
from kerasdistill.runs import read_json
from pipelines import text
from pipelines.datasets import ImageData

_TOLD = 5  # words at a line's beginning that tell it from the others


def steps(lines: Sequence[Sequence[str]], table: argparse.Namespace) -> list[Any]:
    """What each line will cost that is not finished, measured on this machine.

    Args:
        lines: those of the table.
        table: the command line that names it.

    Returns:
        `plans.Step`s, named by the words that tell lines apart; ensembles are not
        among them, which take minutes where their members took days.
    """
    if table.table == "ban-table-6":
        return _of_texts(lines, table)
    if table.table in tables.ALL_EPOCHS:
        return _of_generations(lines)
    return _of_students(lines, table)


def _of_students(
    lines: Sequence[Sequence[str]], table: argparse.Namespace
) -> list[Any]:
    from kerasdistill.experiments import chain

    steps, prepared = [], False
    data = interpret.data(table)
    for line in lines:
        asked, name = parse(line), shlex.join(line[:_TOLD])
        if line[0] == "ensemble" or _search_is_done(asked):
            continue
        if line[0] != "student":
            steps += _labelled_step(asked, name, data)
            continue
        wanted = interpret.chain_of(asked, _student_recipe(asked, data), data)
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
    from kerasdistill.experiments import costs, training

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
    made_of = {"stream": stream, "data": data, "run": run}
    step = costs.plan_training(name, recipe, **made_of)
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


def _of_generations(lines: Sequence[Sequence[str]]) -> list[Any]:
    from kerasdistill.experiments import chain_costs

    chains: dict[str, chain_costs.Asked] = {}  # by what later lines call its teacher
    for number, line in enumerate(lines, start=1):
        asked = parse(line)
        made = chain_costs.Asked(
            name=shlex.join(line[: line.index("--workdir")]),
            recipe=born_again.recipe(asked),
            count=asked.generations,
            teacher=chains[asked.teacher] if asked.teacher else None,
        )
        chains[tables.teacher_by(number)] = made
    data = interpret.data(asked)  # of all lines alike
    return chain_costs.steps(list(chains.values()), data=data, workdir=asked.workdir)


def _of_texts(lines: Sequence[Sequence[str]], table: argparse.Namespace) -> list[Any]:
    from kerasdistill.experiments import language_generations

    steps = []
    data = text.load(table.data_dir, quick=table.quick)
    for line in lines:
        asked = parse(line)
        steps += language_generations.plan(
            language.lineage(asked),
            data=data,
            workdir=asked.workdir,
            name=shlex.join(line[:3]),
        )
    return steps
