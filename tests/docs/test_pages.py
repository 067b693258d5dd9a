"""What the pages say can be typed exists: links, targets, commands, options, names."""

import argparse
import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from kerasdistill.cli import arguments, distilling_options
from kerasdistill.errors import UserError

from .conftest import ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "saved_models" / "README.md",
    *DOCS,
]
# Beam's options mostly have underscores; these of its and of a benchmark's have none.
FOREIGN = {"--runner", "--project", "--region", "--parallelism", "--log"}
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def verbs() -> dict[str, argparse.ArgumentParser]:
    parser = arguments.build_parser()
    return parser._subparsers._group_actions[0].choices


def options() -> dict[str, set[str]]:
    """Verb -> its options."""
    return {
        name: {option for action in verb._actions for option in action.option_strings}
        for name, verb in verbs().items()
    }


def foreign(option: str) -> bool:
    """Whether it is another program's, and none of ours in another spelling."""
    ours = set().union(*options().values())
    return option in FOREIGN or ("_" in option and option.replace("_", "-") not in ours)


def lines_of(text: str) -> list[str]:
    """A block's lines, continued ones joined."""
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def commands(text: str) -> list[list[str]]:
    """The words after `kerasdistill.cli` in a block, one list a command."""
    found = []
    for line in lines_of(text):
        if "kerasdistill.cli " in line and "VERB" not in line:
            part = line.partition("kerasdistill.cli ")[2]
            part = re.split(r"\s(?:\||&&|>|2>)\s?", part)[0]
            found.append(shlex.split(part, comments=True))
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The targets of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_understood(page, blocks):
    for _, text in blocks(page):
        for words in commands(text):
            asked = arguments.parse(words)
            for stranger in getattr(asked, "beam_arguments", []):
                option = stranger.partition("=")[0]
                assert foreign(option) or not option.startswith("--"), (words, option)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_sentences_exist(page):
    known = options()
    anywhere = set().union(*known.values())
    for code in map(" ".join, map(str.split, _INLINE.findall(prose(page)))):
        first = code.split()[0]
        if first not in known and not first.startswith("--"):
            continue  # another program's command
        for option in _OPTION.findall(code):
            own = known.get(first, anywhere)
            assert option in own or foreign(option), f"`{code}`: {option}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in _LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page, blocks):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    texts = [text for _, text in blocks(page)] + _INLINE.findall(prose(page))
    for text in texts:
        for target in re.findall(r"^make ([a-z-]+)", text, flags=re.MULTILINE):
            assert target in targets, target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_is_valid_and_imports_what_exists(page, blocks):
    for kind, text in blocks(page):
        if kind != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert defines(node.module, alias.name), (node.module, alias.name)


def defines(module: str, name: str) -> bool:
    """Whether one of our modules has the name; of others, True."""
    if module.partition(".")[0] not in ("kerasdistill", "pipelines", "tuners"):
        return True
    place = ROOT.joinpath(*module.split("."))
    if (place / f"{name}.py").exists():
        return True
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.exists():
        return False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    named = {getattr(node, "name", None) for node in tree.body}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            named |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = getattr(node, "targets", None) or [node.target]
            named |= {getattr(target, "id", None) for target in targets}
    return name in named


def test_every_page_is_in_the_site_s_tree():
    trees = re.findall(
        r"```\{toctree\}\n(.*?)```",
        (ROOT / "docs" / "index.md").read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    listed = {line for tree in trees for line in tree.split() if line[0] != ":"}
    pages = {str(page.relative_to(ROOT / "docs"))[: -len(".md")] for page in DOCS}
    assert pages - {"index"} <= listed


def test_own_teachers_name_every_verb_that_takes_unlabelled_images():
    text = (ROOT / "docs" / "how-to" / "own-teacher.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `unlabelled:PATH` .*$", text, flags=re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", row)) == set(
        distilling_options.TAKE_UNLABELLED
    )


@pytest.mark.parametrize(
    "text",
    [
        "python -m kerasdistill.cli student --budget 1M --conv 3",
        "python -m kerasdistill.cli studnt --budget 1M",
        "cd x && python -m kerasdistill.cli student \\\n    --pases 3",
    ],
)
def test_a_wrong_command_would_be_seen(text):
    (words,) = commands(text)
    with pytest.raises(UserError):
        arguments.parse(words)


@pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None, reason="needs the extra [docs]"
)
def test_a_page_that_fetches_from_elsewhere_fails_the_build():
    file = ROOT / "docs" / "conf.py"
    spec = importlib.util.spec_from_file_location("docs_conf", file)
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    elsewhere = (
        '<script async src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//fonts.example/f.css">',
        "@import url('https://fonts.example/f.css')",
        '<img alt="" src="https://x.example/badge.svg">',
        "src: url(https://fonts.example/f.woff2)",
    )
    for text in elsewhere:
        assert conf._FETCHED.search(text), text
    for text in (
        '<a href="https://arxiv.org/abs/1805.04770">',
        '<script src="_static/x.js">',
        '<link rel="canonical" href="https://x.example/">',
        "src: url(fonts/f.woff2)",
    ):
        assert not conf._FETCHED.search(text), text
