"""Every verb in folders whose names are strange but text."""

import pytest

from tests.chaos.harness import outcome
from tests.chaos.table import VERBS

NAME = "runs [1] *?ünï \\ 'it'"
SHORT = ("precompute", "student")
LONG = [pytest.param(n, marks=pytest.mark.slow) for n in VERBS if n not in SHORT]


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_verbs_in_a_strange_folder(name, server, inputs, undisturbed, tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    words = inputs.fill(VERBS[name].line).split()
    done = server.run([*words, "--workdir", NAME], folder)
    assert done.rc == 0, done.said[-3000:]
    _, expected = undisturbed(name)
    found = outcome(folder)
    whole = {path.replace("runs/", f"{NAME}/", 1) for path in expected}
    assert found.keys() == whole
    for path, value in expected.items():
        if isinstance(value, bytes | str):
            assert found[path.replace("runs/", f"{NAME}/", 1)] == value, path
