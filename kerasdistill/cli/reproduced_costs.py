"""What is left of a table's lines and costs, measured before any of them runs."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kerasdistill.cli import born_again, interpret, language, requested, searching
from kerasdistill.cli import reproduced_tables as tables
from kerasdistill.cli.arguments import parse
from kerasdistill.recipes import urban2017
from kerasdistill.running import steps
from kerasdistill.running.steps import Cost, Plan, Step
from pipelines.datasets import ImageData
from pipelines.words import text

_TOLD = 5  # words at a line's beginning that tell it from the others


def plan(lines: Sequence[Sequence[str]], table: argparse.Namespace) -> Plan:
    """What each line will cost that is not finished, measured on this machine.

    Ensembles are not in it, which take minutes where their members took days.

    Args:
        lines: those of the table.
        table: the command line that names it.
    """
    if table.table == "ban-table-6":
        return _of_texts(lines, table)
    if table.table in tables.ALL_EPOCHS:
        return _of_generations(lines)
    return _of_students(lines, table)


def _of_students(lines: Sequence[Sequence[str]], table: argparse.Namespace) -> Plan:
    data = interpret.data(table)
    story: list[Step] = []
    for line in lines:
        if line[0] == "ensemble":
            continue
        asked = parse(line)
        told, name = _story(asked, data), shlex.join(line[:_TOLD])
        if asked.trials is not None:
            name += f", {asked.trials} trials"
        names = {step.name for step in story}
        # Teachers and the set are the same for all students.
        story += [step for step in told[:-1] if step.name not in names]
        story.append(replace(told[-1], name=name))
    return steps.left(story, workdir=table.workdir)


def _story(asked: argparse.Namespace, data: ImageData) -> Sequence[Step]:
    """The steps of a line's verb: teacher, student or baseline."""
    from kerasdistill.experiments import chain
    from kerasdistill.running import training

    if asked.trials is not None:
        if asked.verb == "student":
            space = searching.family(asked)
            return searching.student_story(asked, space, data).steps
        kinds = {"teacher": searching.teacher_space, "baseline": searching.family}
        space = kinds[asked.verb](asked)
        return searching.labelled_story(asked, space, data).steps
    where = {"data": data, "workdir": asked.workdir}
    if asked.verb == "student":
        make = requested.student_maker(asked, urban2017.student)
        recipe = requested.trained_as_asked(make(data), asked)
        wanted = interpret.chain_of(asked, recipe, data)
        return [*chain.before(wanted, **where), chain.student_step(wanted, **where)]
    if asked.verb == "teacher":
        recipe = requested.teacher_recipe(asked)
    else:
        recipe = requested.student_maker(asked, urban2017.baseline)(data)
    recipe = requested.trained_as_asked(recipe, asked)
    return [training.on_labels(recipe, kind=asked.verb, **where)]


def _of_generations(lines: Sequence[Sequence[str]]) -> Plan:
    """A line's trainings together; their networks are measured on small batches."""
    from kerasdistill.experiments.born_again import generations
    from kerasdistill.experiments.born_again.signals import Signal
    from kerasdistill.running import timing

    first = parse(lines[0])  # the data are the same for all lines
    how = {"data": interpret.data(first), "workdir": first.workdir}
    how |= {"signal": Signal(), "meter": timing.Meter(small=True)}
    story: list[Step] = []
    zeros: dict[str, dict[str, Any]] = {}  # by what later lines call its teacher
    names = [shlex.join(line[: line.index("--workdir")]) for line in lines]
    for number, (name, line) in enumerate(zip(names, lines, strict=True), start=1):
        asked = parse(line)
        recipe = born_again.recipe(asked)
        zeros[tables.teacher_by(number)] = {
            "taught_by": f"{name}, {generations.name_of(0)}",
            "taught_by_recipe": generations.recipe_of(recipe, 0),
        }
        teacher = zeros[asked.teacher] if asked.teacher else {}
        story += generations.story(
            recipe, count=asked.generations, prefix=f"{name}, ", **teacher, **how
        )
    costs_of = steps.left(story, workdir=first.workdir).costs
    summed = {}
    for name in names:
        of_line = [c for step, c in costs_of.items() if step.startswith(f"{name}, ")]
        if of_line:
            summed[name] = Cost(
                seconds=sum(each.seconds for each in of_line),
                num_bytes=sum(each.num_bytes for each in of_line),
                how=f"trainings: {len(of_line)}, the last {of_line[-1].how}",
            )
    return Plan(summed)


def _of_texts(lines: Sequence[Sequence[str]], table: argparse.Namespace) -> Plan:
    from kerasdistill.experiments.language import generations as language_generations

    data = text.load(table.data_dir, quick=table.quick)
    story: list[Step] = []
    for line in lines:
        lineage = language.lineage(parse(line))
        where = {"data": data, "workdir": table.workdir}
        prefix = f"{shlex.join(line[:3])}, "
        story += language_generations.story(lineage, **where, prefix=prefix)
    return steps.left(story, workdir=table.workdir)
