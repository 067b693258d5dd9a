"""Below cli/ messages name Python's arguments; the command line prints its options."""

import ast
import re
from pathlib import Path

import pytest

from kerasdistill.cli import flags
from kerasdistill.cli.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
BELOW = [
    file
    for package in ("kerasdistill", "pipelines", "tuners")
    for file in sorted((ROOT / package).rglob("*.py"))
    if ROOT / "kerasdistill" / "cli" not in file.parents
]
_OPTION = re.compile(r"--[a-z][a-z-]*")
_COMMAND = re.compile(r"python -m kerasdistill\.cli .*")  # a whole one can be typed


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def options_in(text: str) -> set[str]:
    """The command line's own options that a text names."""
    return flags._options().intersection(_OPTION.findall(_COMMAND.sub("", text)))


@pytest.mark.parametrize("file", BELOW, ids=name_of)
def test_nothing_below_the_command_line_names_its_options(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not options_in(node.value), node.lineno


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("add `epochs=N` or leave it", "add --epochs N or leave it"),
        ("choose another `workdir`", "choose another --workdir"),
        ("; `force=True` accepts it", "; --force accepts it"),
        ("use `store='replay'`", "use --store replay"),
        ("`devices=cpu:2`: no", "--devices cpu:2: no"),
        ("say `convention.output='sigmoid'`", "say --teacher-output sigmoid"),
        ("add `trusting(saved_models=True)`", "add --trust-saved-model"),
        ("a search (`max_trials=N`)", "a search (--trials N)"),
        ("`fix` c1=7 is too large", "--fix c1=7 is too large"),
        # What is no argument of ours stays.
        ("`kill -9 7` ends it", "`kill -9 7` ends it"),
        ("`sample_weight` is one", "`sample_weight` is one"),
        ("a folder called `", "a folder called `"),
    ],
)
def test_arguments_become_options(text, options):
    assert flags.named(text) == options


def test_every_other_name_leads_to_an_option():
    assert set(flags.OTHERS.values()) <= flags._options()


@pytest.mark.parametrize(
    "text", ["add --epochs N", "give `--teacher`", "(--no, --force)"]
)
def test_an_option_would_be_seen(text):
    assert options_in(text)


def test_errors_and_answers_name_options(capsys, tmp_path):
    assert main(["runs", "clean", "--workdir", str(tmp_path)]) == 2
    assert "--unreferenced or both, or --run NAME" in capsys.readouterr().err
    assert main(["runs", "list", "--workdir", str(tmp_path / "none")]) == 2
    assert "give the --workdir of runs" in capsys.readouterr().err
