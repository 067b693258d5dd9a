"""The wheel that others install: complete, and usable where nothing else of ours is."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("kerasdistill", "pipelines", "tuners")
IMPORT_ALL = """
import importlib, pkgutil
for name in ("kerasdistill", "pipelines", "tuners"):
    package = importlib.import_module(name)
    for each in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(each.name)
    print(package.__file__)
"""


def files_of(name: str) -> set[str]:
    """What lies in one of our packages, as it should be installed."""
    files = [file for file in (ROOT / name).rglob("*") if file.is_file()]
    paths = {str(file.relative_to(ROOT)) for file in files}
    return {path for path in paths if "__pycache__" not in path}


def test_packages_say_that_they_are_typed():
    assert all(f"{name}/py.typed" in files_of(name) for name in OURS)


@pytest.mark.slow
def test_all_files_travel(wheel):
    names = {
        name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name
    }
    assert names == set().union(*map(files_of, OURS))


@pytest.mark.slow
def test_in_an_environment_of_its_own(wheel, tmp_path):
    """What it requires is this environment's; its code is the wheel's alone."""
    subprocess.run([sys.executable, "-m", "venv", "clean"], cwd=tmp_path, check=True)
    (site,) = tmp_path.glob("clean/lib/python*/site-packages")
    # A path alone: the folder's own .pth files, such as ours to edit, are not read.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed))

    def run(*words: str) -> str:
        command = [tmp_path / "clean" / "bin" / words[0], *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(
        "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--force-reinstall",
        str(wheel),
    )
    places = run("python", "-c", IMPORT_ALL).split()
    assert [Path(place).parents[1] for place in places] == [site] * len(OURS)
    said = run("kerasdistill", "summary", "student", "--budget", "1M", "--convs", "3")
    assert "num_params" in said
