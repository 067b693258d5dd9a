"""Arguments of Python, named in messages, as the options of the command line.

Below `cli/`, messages name an argument as Python has it, in backticks: "add
`epochs=N`", "choose another `workdir`". Here they become "add --epochs N" and "choose
another --workdir". No heavy imports.
"""

import functools
import re

# Arguments that have other names than their options.
OTHERS = {
    "convention.head": "--teacher-head",
    "convention.input": "--teacher-input",
    "convention.output": "--teacher-output",
    "data": "--dataset",
    "file": "--png",
    "folder": "--data-dir",
    "max_trials": "--trials",
    "names": "--run",
    "saved_models": "--trust-saved-model",
    "teacher_path": "--teacher",
    "teacher_paths": "--teacher",
    "teachers": "--teacher",
    "top_k": "--store-top-k",
}
# `name`, `name=value`, `function(name=value)`; a value may be in quotes.
_ARGUMENT = re.compile(r"`(?:\w+\()?([a-z_.]+)(?:='?([^`'\n]*?)'?)?\)?`")


def named(text: str) -> str:
    """The text with options in place of Python's arguments; the rest stays."""
    return _ARGUMENT.sub(_option, text)


def _option(match: re.Match) -> str:
    name, value = match.groups()
    option = OTHERS.get(name, f"--{name.replace('_', '-')}")
    if option not in _options():
        return match[0]
    return option if value in (None, "True") else f"{option} {value}"


@functools.cache
def _options() -> frozenset[str]:
    """Every option of every verb."""
    from kerasdistill.cli import arguments

    verbs = arguments.build_parser()._subparsers._group_actions[0].choices
    actions = (action for verb in verbs.values() for action in verb._actions)
    return frozenset(option for each in actions for option in each.option_strings)
