"""The process that runs commands, and tiny inputs for them, made once."""

import random
import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.chaos.harness")

from tests.chaos.harness import (  # noqa: E402
    PRECOMPUTE,
    TEACHER,
    Inputs,
    Server,
    outcome,
)
from tests.chaos.table import VERBS  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Runs command lines, each in a process forked for it."""
    running = Server(tmp_path_factory.mktemp("server") / "log")
    yield running
    running.close()


@pytest.fixture(scope="session")
def inputs(server, tmp_path_factory) -> Inputs:
    """Made once; tests that change them take copies."""
    cwd = tmp_path_factory.mktemp("inputs") / "cwd"
    teacher = server.run(TEACHER, cwd)
    assert teacher.rc == 0, teacher.said
    paths = {"teacher": str(cwd / teacher.answer["model"]), "text": _text(cwd)}
    for store in ("images", "replay"):
        line = f"{PRECOMPUTE} --teacher {paths['teacher']} --store {store}"
        made = server.run(line, cwd)
        assert made.rc == 0, made.said
        paths[store] = str(cwd / made.answer["distillation_set"])
    return Inputs(**paths)


@pytest.fixture(scope="session")
def undisturbed(server, inputs, tmp_path_factory):
    """The function that gives a verb's run without faults: how it ended, its outcome.

    Each runs once in a session.
    """
    known = {}

    def run(name):
        if name not in known:
            cwd = tmp_path_factory.mktemp("undisturbed") / "cwd"
            fault = "count" if VERBS[name].counted else None
            ended = server.run(inputs.fill(VERBS[name].line), cwd, fault=fault)
            assert ended.rc == 0, ended.said[-3000:]
            known[name] = ended, outcome(cwd)
            shutil.rmtree(cwd)
        return known[name]

    return run


@pytest.fixture(scope="session")
def other(server, inputs, tmp_path_factory) -> Path:
    """A set of the same shape by the same teacher, from another seed."""
    cwd = tmp_path_factory.mktemp("other") / "cwd"
    made = server.run(f"{PRECOMPUTE} --seed 7 --teacher {inputs.teacher}", cwd)
    return cwd / made.answer["distillation_set"]


def _text(cwd) -> str:
    """A folder with three splits of a small text."""
    folder = cwd / "text"
    folder.mkdir()
    words = random.Random(0).choices("a be see do ear if go had in jay".split(), k=300)
    lines = [" ".join(words[n : n + 6]) + "\n" for n in range(0, len(words), 6)]
    for split, part in {"train": lines, "valid": lines[:5], "test": lines[5:9]}.items():
        (folder / f"{split}.txt").write_text("".join(part))
    return str(folder)
