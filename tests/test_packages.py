"""Which packages are found, under which names, and what is said of those missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

from kerasdistill import packages
from kerasdistill.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def installed(folder: Path, module: str, *, by: str | None, source: str = "") -> None:
    """A package as pip leaves it in a folder: brought by a distribution, or by none."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(source)
    if by is not None:
        about = folder / f"{by.replace('-', '_')}-2.21.7.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {by}\nVersion: 2.21.7\n")
        (about / "top_level.txt").write_text(module)
        (about / "RECORD").write_text(f"{module}/__init__.py,,\n")


@pytest.mark.parametrize(
    ("by", "source", "version"),
    [
        ("toy-flow", "", "2.21.7"),
        ("toy-flow-cpu", "", "2.21.7"),
        ("tf-toy-nightly", "__version__ = 'elsewhere'", "2.21.7"),
        (None, "__version__ = '2.22.0-dev'\n", "2.22.0-dev"),
        (None, "raise RuntimeError('imported')", packages.UNKNOWN),
    ],
)
def test_the_version_of_a_module_by_whatever_brought_it(
    by, source, version, tmp_path, monkeypatch
):
    installed(tmp_path, "toy_flow", by=by, source=source)
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.version("toy_flow") == version
    assert "toy_flow" not in sys.modules


@pytest.mark.parametrize("name", ["toy_flow", "a folder"])
def test_what_is_not_installed_has_no_version(name, tmp_path, monkeypatch):
    (tmp_path / "a folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert packages.version(name) is None


@pytest.mark.parametrize("distribution", ["tensorflow", "scikit-learn", "pillow"])
def test_modules_and_distributions_that_are_here(distribution):
    assert packages.version(packages.module_of(distribution))[0].isdigit()


def test_what_is_missing_is_one_line_with_the_command():
    packages.require("numpy", by="all of it")
    with pytest.raises(UserError) as caught:
        packages.require("numpy", "toy_flow", "toy", by="the toy")
    line = str(caught.value)
    assert line.startswith("the toy needs toy-flow, toy,") and "\n" not in line
    assert line.endswith("pip install 'toy-flow' 'toy'")


# Every look-up of TensorFlow's version, where it is another distribution.
LOOK_UPS = """
import json, sys
from kerasdistill import doctor, runs
from kerasdistill.cli import arguments, finished
checks = doctor.examine(workdir=".", data_dir=".")["checks"]
args = arguments.parse("teacher --dataset digits --workdir here".split())
print(json.dumps([
    runs.environment()["packages"],
    finished.of(args).inputs["environment"]["packages"],
    {each["check"]: each for each in checks},
    sorted({"tensorflow", "keras"} & set(sys.modules)),
]))
"""


@pytest.mark.parametrize("name", ["tensorflow-cpu", "tf-nightly", "tensorflow-macos"])
def test_tensorflow_under_another_name(name, tmp_path):
    installed(tmp_path, "tensorflow", by=name)
    installed(tmp_path, "keras", by="keras")
    installed(tmp_path, "numpy", by="numpy")
    (tmp_path / "packaging").symlink_to(Path(packaging.__file__).parent)
    (tmp_path / "kerasdistill-0.1.0.dist-info").mkdir()
    about = tmp_path / "kerasdistill-0.1.0.dist-info" / "METADATA"
    needs = "Requires-Dist: tensorflow>=2.0,<3\nRequires-Dist: apache-beam>=2\n"
    about.write_text(f"Name: kerasdistill\nVersion: 0.1.0\n{needs}")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOOK_UPS],  # without what is installed here
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    here, kept, checks, imported = json.loads(done.stdout)
    assert here == kept and here["tensorflow"] == "2.21.7"
    assert here["apache-beam"] is None and imported == []
    assert checks["tensorflow"]["status"] == "ok"
    assert checks["apache-beam"]["status"] == "warning"
    assert "pip install" in checks["apache-beam"]["advice"]
