"""Notebooks: without outputs in the repository, and they run from top to bottom."""

import importlib.util
import json
import os
import sys

import pytest

from .conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
TOOLS = ("nbclient", "nbformat", "ipykernel")


def test_there_are_some():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_they_are_kept_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [each for each in notebook["cells"] if each["cell_type"] == "code"]
    assert cells and not any(each["outputs"] for each in cells)
    assert {each["execution_count"] for each in cells} == {None}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the notebooks' own machinery
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in TOOLS),
    reason=f"{', '.join(TOOLS)}: not installed, they are in [test-slow]",
)
def test_own_model(tmp_path, monkeypatch):
    import nbclient
    import nbformat

    # A kernel of this environment, whatever kernels are registered on the machine.
    kernel = tmp_path / "jupyter" / "kernels" / "this"
    kernel.mkdir(parents=True)
    start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": start, "display_name": "this", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path[1:]]))
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "own_model.ipynb", 4)
    here = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="this", resources=here
    ).execute()
    codes = [each for each in notebook.cells if each["cell_type"] == "code"]
    assert float(codes[-1]["outputs"][-1]["data"]["text/plain"]) > 0.7
    assert (tmp_path / "saved_models" / "digits" / "MODEL_CARD.md").is_file()
