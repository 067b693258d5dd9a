"""The verbs as Markdown, from the parser: a sentence, an example, tables of options."""

import argparse
from collections.abc import Iterator

from kerasdistill.cli import arguments
from kerasdistill.cli.examples import EXAMPLES

# Groups of options that are told once, at the end.
EVERY, MADE_ELSEWHERE = (arguments.DATA, arguments.COMMON), "models made elsewhere"


def sections() -> str:
    """A section for each verb, then the options that many or all of them have."""
    verbs = arguments.build_parser()._subparsers._group_actions[0].choices
    lines = [line for name, verb in verbs.items() for line in _section(name, verb)]
    groups = {each.title: each for each in verbs["student"]._action_groups}
    made = groups[MADE_ELSEWHERE]
    lines += [f"## {_sentence(MADE_ELSEWHERE)}", "", made.description, ""]
    lines += [*_table("", made._group_actions), "## Options of every verb", ""]
    for title in EVERY:
        lines += _table(title.partition(",")[0], groups[title]._group_actions)
    return "\n".join(lines)


def _section(name: str, verb: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"## {name}", "", f"{_sentence(verb.description)}.", "")
    yield from ("```", EXAMPLES[name], "```", "")
    also = ["the [options of every verb](#options-of-every-verb)"]
    own, *groups = _groups(verb)
    yield from _table(*own)
    for title, group in groups:
        if title == MADE_ELSEWHERE:
            also.insert(0, "those for [models made elsewhere](#models-made-elsewhere)")
        elif title not in EVERY:
            yield from _table(title, group)
    if name in arguments.PLANNED:
        also.insert(0, "`--plan`")
    others = verb.epilog.partition("example:")[0].strip()
    if others:
        yield from (others, "")
    first = f"{', '.join(also[:-1])} and " if also[:-1] else ""
    yield from (f"It also takes {first}{also[-1]}.", "")


def _groups(verb: argparse.ArgumentParser) -> list[tuple[str, list[argparse.Action]]]:
    """Titles and their actions; the first has no title: what is in no group."""
    positional, options, *named = verb._action_groups
    own = [*positional._group_actions, *options._group_actions]
    return [("", own), *((each.title, each._group_actions) for each in named)]


def _table(title: str, actions: list[argparse.Action]) -> Iterator[str]:
    """A group of options; nothing without any."""
    actions = [each for each in actions if each.dest not in ("help", "plan")]
    if not actions:
        return
    if title:
        yield from (f"**{_sentence(title)}**", "")
    yield from ("| option | meaning |", "|---|---|")
    for action in actions:
        yield f"| {_form(action)} | {_cell(_sentence(action.help or ''))} |"
    yield ""


def _form(action: argparse.Action) -> str:
    """How it is typed, such as `--schedule paper|cosine|linear`."""
    value = action.metavar or action.dest
    if action.choices:
        value = "|".join(map(str, action.choices))
    elif not action.metavar and action.option_strings:
        value = value.upper()
    if action.nargs == 0:
        value = ""
    elif action.nargs in ("+", "*"):
        value = f"{value} …"
    forms = [f"{option} {value}".strip() for option in action.option_strings] or [value]
    return ", ".join(f"`{_cell(form)}`" for form in forms)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
