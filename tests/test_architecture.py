"""The shape of the code: who imports whom, how large things are, how help starts."""

import ast
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kerasdistill", "pipelines", "tuners")
MODULES = sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))
MOST_MODULE_LINES = 300
MOST_FUNCTION_LINES = 60  # without the docstring: explaining more is no fault
HEAVY = ("tensorflow", "keras", "numpy", "apache_beam", "tensorflow_datasets")

SHOW_HELP = f"""
import json, sys
from kerasdistill.cli.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as leaving:
    code = leaving.code
loaded = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps({{"code": code or 0, "loaded": loaded}}), file=sys.stderr)
"""


def run(*arguments: str) -> tuple[subprocess.CompletedProcess, float]:
    """Runs Python in the repository: what came, and the processor's seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return done, user + system


def functions(file: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def length(function: ast.FunctionDef) -> int:
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - (docstring.end_lineno - docstring.lineno + 1)


def test_the_modules_are_found():
    assert len(MODULES) > 20


def test_imports_follow_the_rules():
    pytest.importorskip("importlinter", reason="needs the extra [lint]")
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done, _ = run("-c", lint, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_help_is_quick():
    # Processor seconds, not the clock's: other programs may be busy.
    shown = [run("-m", "kerasdistill.cli", "--help") for _ in range(3)]
    assert all(done.returncode == 0 for done, _ in shown)
    assert "student" in shown[0][0].stdout
    assert min(seconds for _, seconds in shown) < 0.5


@pytest.mark.parametrize(
    "verb", [(), ("student",), ("teacher",), ("precompute",), ("born-again",)]
)
def test_help_needs_no_heavy_library(verb):
    done, _ = run("-c", SHOW_HELP, *verb, "--help")
    assert "usage: kerasdistill" in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert json.loads(last) == {"code": 0, "loaded": []}


def test_the_package_holds_its_version_alone():
    tree = ast.parse((ROOT / "kerasdistill" / "__init__.py").read_text())
    docstring, version = tree.body
    assert isinstance(docstring, ast.Expr) and isinstance(version, ast.Assign)
    assert [target.id for target in version.targets] == ["__version__"]


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_and_functions_stay_small(file):
    count = len(file.read_text(encoding="utf-8").splitlines())
    assert count <= MOST_MODULE_LINES
    lengths = {node.name: length(node) for node in functions(file)}
    assert not {n: lines for n, lines in lengths.items() if lines > MOST_FUNCTION_LINES}


# Whatever is printed passes `terminal`; each exception has its reason.
MAY_PRINT = ("kerasdistill/terminal.py",)
STREAMS = ("stdout", "stderr")


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_one_way_out(file):
    if str(file.relative_to(ROOT)) in MAY_PRINT:
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "tqdm"), node.lineno
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            stream = node.value.id == "sys" and node.attr.strip("_") in STREAMS
            assert not stream, node.lineno
