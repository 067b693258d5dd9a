"""reproduce: says what a table costs, then runs its lines, each a run of its own."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kerasdistill import terminal
from kerasdistill.cli import born_again, interpret, language, requested, searching
from kerasdistill.cli import reproduced_tables as tables
from kerasdistill.cli.arguments import parse
from kerasdistill.cli.reproduced_tables import Line
from kerasdistill.errors import DivergedError
from kerasdistill.recipes import older
from kerasdistill.running import steps
from kerasdistill.running.steps import Cost, Plan, Step
from kerasdistill.terminal import say
from pipelines.datasets import ImageData
from pipelines.words import text

_NAMED = 5  # words at a line's beginning that tell it from the others


def run_reproduce(
    args: argparse.Namespace, *, run: Callable[[argparse.Namespace], dict[str, Any]]
) -> dict[str, Any]:
    """reproduce: says what it costs, then runs what is missing, line by line."""
    import keras

    lines = tables.TABLES[args.table](args)
    left = steps.announce(plan(lines, args), workdir=args.workdir)
    answer = {
        "table": args.table,
        "scale": args.scale,
        "length": tables.length(args.scale, tables.ALL_EPOCHS.get(args.table)),
        "commands": [shlex.join(line) for line in lines],
        **left.to_json(),
    }
    if args.table not in tables.ALL_EPOCHS:  # whose students have a budget
        answer["width_rule"] = requested.width_rule(args)
    if args.plan:
        return {**answer, "text": "\n".join(answer["commands"])}
    done, failed = [], []
    teachers: dict[str, str] = {}
    lost: set[str] = set()
    for number, line in enumerate(lines, start=1):
        words = [teachers.get(word, word) for word in line]
        command = shlex.join(words)
        say(f"{number} of {len(lines)}: {command}")
        keras.utils.clear_session()  # what Keras keeps of models adds up
        try:
            if missing := lost.intersection(words):
                raise DivergedError(f"there is no {missing.pop().strip('<>')}")
            results = run(parse(words))
        except DivergedError as error:  # the others are worth having all the same
            say(f"error: {error}")
            failed.append({"command": command, "error": str(error)})
            lost.add(tables.teacher_by(number))
            continue
        done.append({"command": command, **_score(results)})
        if "generations" in results:
            teachers[tables.teacher_by(number)] = results["generations"][0]["model"]
    answer |= {"done": done, "failed": failed, "complete": not failed}
    return {**answer, "text": _text(answer, args)}


def _score(results: dict[str, Any]) -> dict[str, Any]:
    """What a line was for: of generations, the last one's."""
    last = {**results, **results.get("generations", [{}])[-1]}
    names = ("accuracy", "perplexity")
    score = {name: last[f"test_{name}"] for name in names if f"test_{name}" in last}
    rule = older.width_rule_of(results.get("recipe"))
    return score if rule is None else {**score, "width_rule": rule}


def _text(answer: dict[str, Any], args: argparse.Namespace) -> str:
    lines = []
    for each in answer["done"]:
        score = f"{each['perplexity']:.2f}" if "perplexity" in each else "-"
        if each.get("accuracy") is not None:
            score = f"{100 * each['accuracy']:.2f} %"
        rule = f" ({each['width_rule']} widths)" if "width_rule" in each else ""
        lines.append(f"{score:>8}  {each['command']}{rule}")
    lines += [f"failed: {row['command']}: {row['error']}" for row in answer["failed"]]
    report = f"{terminal.program()} report --workdir {shlex.quote(args.workdir)}"
    return "\n".join([*lines, "next:", f"  {report}"])


def plan(lines: list[Line], table: argparse.Namespace) -> Plan:
    """What each line will cost that is not finished, measured on this machine.

    Ensembles are not in it, which take minutes where their members took days.
    """
    if table.table == "ban-table-6":
        story = _of_texts(lines, table)
    elif table.table in tables.ALL_EPOCHS:
        return _of_generations(lines)
    else:
        story = _of_students(lines, table)
    return steps.left(story, workdir=table.workdir)


def _of_students(lines: list[Line], table: argparse.Namespace) -> list[Step]:
    data = interpret.data(table)
    story: dict[str, Step] = {}
    for line in [each for each in lines if each[0] != "ensemble"]:
        args, name = parse(line), shlex.join(line[:_NAMED])
        if args.trials is not None:
            name += f", {args.trials} trials"
        *before, last = _story(args, data)
        # Teachers and the set are the same for all students.
        for step in before:
            story.setdefault(step.name, step)
        story[name] = replace(last, name=name)
    return [*story.values()]


def _story(args: argparse.Namespace, data: ImageData) -> Sequence[Step]:
    """The steps of a line's verb: teacher, student or baseline."""
    from kerasdistill.experiments import chain
    from kerasdistill.running import training

    if args.trials is not None:
        return searching.story(args, searching.space_maker(args), data).steps
    recipe, before = requested.maker(args)(data), requested.older_maker(args)(data)
    context = {"data": data, "workdir": args.workdir}
    if args.verb == "student":
        wanted = interpret.chain_of(args, recipe, data, older_student=before)
        return [*chain.before(wanted, **context), chain.student_step(wanted, **context)]
    return [training.on_labels(recipe, kind=args.verb, older=before, **context)]


def _of_generations(lines: list[Line]) -> Plan:
    """A line's trainings together; their networks are measured on small batches."""
    from kerasdistill.experiments.born_again import generations
    from kerasdistill.experiments.born_again.signals import Signal
    from kerasdistill.running import timing

    first = parse(lines[0])  # the data are the same for all lines
    shared = {"data": interpret.data(first), "workdir": first.workdir}
    shared |= {"signal": Signal(), "meter": timing.Meter(small=True)}
    story: list[Step] = []
    zeros: dict[str, dict[str, Any]] = {}  # by what later lines call its teacher
    names = [shlex.join(line[: line.index("--workdir")]) for line in lines]
    for number, (name, line) in enumerate(zip(names, lines, strict=True), start=1):
        args = parse(line)
        recipe = born_again.recipe(args)
        zeros[tables.teacher_by(number)] = {
            "taught_by": f"{name}, {generations.name_of(0)}",
            "taught_by_recipe": generations.recipe_of(recipe, 0),
        }
        teacher = zeros[args.teacher] if args.teacher else {}
        story += generations.story(
            recipe, count=args.generations, prefix=f"{name}, ", **teacher, **shared
        )
    costs = steps.left(story, workdir=first.workdir).costs
    sums = {}
    for name in names:
        own = [cost for step, cost in costs.items() if step.startswith(f"{name}, ")]
        if own:
            sums[name] = Cost(
                seconds=sum(cost.seconds for cost in own),
                num_bytes=sum(cost.num_bytes for cost in own),
                how=f"trainings: {len(own)}, the last {own[-1].how}",
            )
    return Plan(sums)


def _of_texts(lines: list[Line], table: argparse.Namespace) -> list[Step]:
    from kerasdistill.experiments.language import generations

    data = text.load(table.data_dir, quick=table.quick)
    story: list[Step] = []
    for line in lines:
        shared = {"data": data, "workdir": table.workdir}
        shared["prefix"] = f"{shlex.join(line[:3])}, "
        story += generations.story(language.lineage(parse(line)), **shared)
    return story
