"""reproduce: says what a table costs, then runs its lines, each a run of its own."""

import argparse
import shlex
import sys
from collections.abc import Callable
from typing import Any

from kerasdistill.cli import reproduced_costs
from kerasdistill.cli import reproduced_tables as tables
from kerasdistill.cli.arguments import parse
from kerasdistill.errors import DivergedError


def run_reproduce(
    asked: argparse.Namespace, *, commands: dict[str, Callable[..., dict[str, Any]]]
) -> dict[str, Any]:
    """reproduce: says what it costs, then runs what is missing, line by line."""
    import keras

    from kerasdistill.running import steps

    tables.check(asked)
    lines = tables.TABLES[asked.table](asked)
    plan = steps.announce(reproduced_costs.plan(lines, asked), workdir=asked.workdir)
    about = {
        "table": asked.table,
        "scale": asked.scale,
        "length": tables.length(asked.scale, tables.ALL_EPOCHS.get(asked.table)),
        "commands": [shlex.join(line) for line in lines],
        **plan.to_json(),
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
