"""A folder with a `pipelines` or `tuners` of its own, and who works in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("pipelines", "tuners")
# The finder of an editable installation: it comes after that of `sys.path`.
EDITABLE = f"""
import sys
from importlib.machinery import PathFinder
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{str(ROOT)!r}]) if path is None else None
sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder)
"""
CLAIM = "from kerasdistill import own_packages; own_packages.put_first()\n"
SHOW = (
    "import importlib.util, pipelines; "
    "print(pipelines.__file__, importlib.util.find_spec('tuners').origin)"
)
LIBRARY = "import kerasdistill.experiments.plans"


def package(folder):
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('not ours')")


def module(folder):
    for name in NAMES:
        (folder / f"{name}.py").write_text("raise RuntimeError('not ours')")


def plain_folder(folder):
    for name in NAMES:
        (folder / name).mkdir()


def run(folder, *words, installed=True, **changes):
    """Python in the folder, which comes first on its path."""
    path = {"PYTHONPATH": str(ROOT) if installed else ""}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **path, **changes},
        capture_output=True,
        text=True,
        timeout=120,
    )


def ours(done):
    assert done.returncode == 0, done.stderr
    places = [Path(word).parents[1] for word in done.stdout.split()]
    assert places == [ROOT, ROOT]


@pytest.mark.parametrize("make", [package, module, plain_folder])
@pytest.mark.parametrize("editable", [True, False])
def test_a_program_that_puts_ours_first_imports_them(make, editable, tmp_path):
    make(tmp_path)
    code = EDITABLE * editable + CLAIM + SHOW
    ours(run(tmp_path, "-c", code, installed=not editable))


@pytest.mark.slow
def test_the_command_line_has_its_own(tmp_path):
    package(tmp_path)
    line = ["-m", "kerasdistill.cli", "inspect", "/nowhere"]
    done = run(tmp_path, *line)
    assert done.returncode == 2 and "/nowhere does not exist" in done.stderr


def test_the_console_script_has_its_own(tmp_path):
    package(tmp_path)
    code = "import sys; from kerasdistill.cli.__main__ import main\n"
    code += "main(['runs', 'clean']); " + SHOW
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ours(run(tmp_path.parent, "-P", "-c", code, **path))


def test_nothing_changes_where_nothing_is_in_the_way(tmp_path):
    code = "import sys; before = [*sys.path]\n" + CLAIM + "assert sys.path == before\n"
    ours(run(tmp_path, "-c", code + SHOW))
    ours(run(tmp_path, "-c", EDITABLE + code + SHOW, installed=False))


@pytest.mark.parametrize("editable", [True, False])
def test_the_library_says_it_in_one_line(editable, tmp_path):
    package(tmp_path)
    code = EDITABLE * editable + LIBRARY
    done = run(tmp_path, "-c", code, installed=not editable)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ") and "rename it" in last
    assert str(tmp_path / "pipelines" / "__init__.py") in last and str(ROOT) in last


def test_doctor_says_it_in_one_line(tmp_path):
    line = ["-m", "kerasdistill.cli", "doctor", "--json"]
    rows = {}
    for where in ("clean", "shadowed"):
        folder = tmp_path / where
        folder.mkdir()
        if where == "shadowed":
            package(folder)
        checks = json.loads(run(folder, *line).stdout)["checks"]
        rows[where] = {each["check"]: each for each in checks if each["check"] in NAMES}
    assert rows["clean"] == {} and set(rows["shadowed"]) == set(NAMES)
    pipelines = rows["shadowed"]["pipelines"]
    assert pipelines["status"] == "warning" and "rename it" in pipelines["advice"]
    assert str(tmp_path / "shadowed" / "pipelines") in pipelines["found"]
