"""Losses as options: `--loss`, and one for each setting of any objective.

Read from `objectives.OBJECTIVES` when a parser is made. No heavy imports.
"""

import argparse
import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from kerasdistill.cli.values import number
from kerasdistill.errors import UserError
from kerasdistill.objectives import OBJECTIVES, RANGES, Objective, settings


def describe(
    group: Any,
    losses: Sequence[str],
    *,
    default: str,
    without: Sequence[str] = (),
) -> None:
    """Adds --loss and the settings of these losses but for those `without`, to a verb
    or to a group of its options."""
    about = f"what a student minimises (default: {default})"
    group.add_argument("--loss", choices=losses, help=about)
    for name, owners in _owners(losses).items():
        if name not in without:
            field = settings(OBJECTIVES[owners[0]])[name]
            about = f"{field.metadata.get('about', '')} in {', '.join(owners)}".strip()
            about += f" (default: {field.default})"
            group.add_argument(_option(name), **_reader(field), help=about)


def names() -> list[str]:
    """The arguments that `describe` adds, where they are all added."""
    return ["loss", *_owners(OBJECTIVES)]


def chosen(args: argparse.Namespace, before: Objective) -> Objective:
    """The objective of a command line; `before` is what it changes.

    Raises:
        UserError: an option of another objective, or a setting that can't be.
    """
    loss = getattr(args, "loss", None) or before.name
    objective = before if loss == before.name else OBJECTIVES[loss]()
    given = {}
    for name, owners in _owners(OBJECTIVES).items():
        value = getattr(args, name, None)
        if value is None:
            continue
        if loss not in owners:
            others = " or ".join(owners)
            if not objective.learns_from_teacher:
                others += f" ({loss} learns without a teacher)"
            raise UserError(f"{_option(name)} belongs to --loss {others}; leave it out")
        given[name] = value
    return dataclasses.replace(objective, **given)


def _owners(losses: Sequence[str]) -> dict[str, list[str]]:
    """The losses that have each setting."""
    owners: dict[str, list[str]] = {}
    for loss in losses:
        for name in settings(OBJECTIVES[loss]):
            owners.setdefault(name, []).append(loss)
    return owners


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _reader(field: dataclasses.Field) -> dict[str, Any]:
    """How argparse reads a setting: by its range, its choices or its type."""
    if expected := field.metadata.get("expected"):
        return {"type": number(float, RANGES[expected], expected), "metavar": "X"}
    if choices := typing.get_args(field.type):
        return {"choices": choices}
    return {"type": field.type, "metavar": "X"}
