"""What a stranger reads first: README, front page, results and the commands."""

import importlib
import re

import pytest

from kerasdistill.cli import arguments
from kerasdistill.cli.examples import EXAMPLES

from .conftest import ROOT

README = ROOT / "README.md"
INDEX = ROOT / "docs" / "index.md"
COMMANDS = ROOT / "docs" / "reference" / "commands.md"


@pytest.fixture
def module(monkeypatch):
    """Imports a module of docs/ or benchmarks/, which are no packages."""

    def load(folder: str, name: str):
        monkeypatch.syspath_prepend(str(ROOT / folder))
        return importlib.import_module(name)

    return load


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", [README, INDEX], ids=lambda page: page.name)
def test_a_model_and_pictures_of_one_s_own_come_first(page, blocks):
    _, text = next(iter(blocks(page)))
    assert len(text.splitlines()) <= 5
    assert "pip install" in text and "--teacher mine.keras" in text
    assert "--dataset folder:" in text


def test_the_front_page_begins_with_a_picture_and_a_result():
    text = INDEX.read_text(encoding="utf-8")
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert (INDEX.parent / picture).stat().st_size < 200_000
    assert text.index(picture) < text.index(" %") < text.index("\n## ")
    assert text.index("mine.keras") < text.index("Urban")


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_tables_are_those_of_the_kept_results(page, module):
    tables = module("benchmarks", "tables")
    page = ROOT / page
    assert tables.written(page) == page.read_text(encoding="utf-8")
    assert "missing" not in tables.highlights()


@pytest.mark.parametrize("verb", EXAMPLES)
def test_examples_are_understood(verb):
    words = re.sub(r"\\\n\s*", " ", EXAMPLES[verb])
    if verb == "completion":  # read by a shell
        return
    program, _, line = words.partition(" kerasdistill.cli ")
    assert program == "python -m"
    assert arguments.parse(line.split()).verb == verb


def test_every_verb_has_one():
    assert EXAMPLES.keys() == arguments.VERBS.keys()


def test_the_reference_has_every_option(module):
    reference = module("docs", "command_reference")
    text = reference.sections()
    assert "<!-- commands -->" in COMMANDS.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\S+)[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    shared = sections.pop("Options") + sections.pop("Models")
    assert sections.keys() == arguments.VERBS.keys()
    verbs = arguments.build_parser()._subparsers._group_actions[0].choices
    for name, verb in verbs.items():
        for action in verb._actions:
            for option in action.option_strings:
                if action.dest not in ("help", "plan"):
                    told = re.search(rf"`{option}[` ]", sections[name] + shared)
                    assert told, (name, option)
