"""The same command gives the same bits; another seed gives others."""

import json
from pathlib import Path

import pytest

from tests.chaos.harness import PRECOMPUTE, outcome
from tests.chaos.table import VERBS

STUDENT = VERBS["student"].line.split(" --distillation-set")[0]


def digest(ended) -> str:
    assert ended.rc == 0, ended.said[-2000:]
    name = "content_digest" if "content_digest" in ended.answer else "weights_digest"
    return ended.answer[name]


def content_digest(stored) -> str:
    return json.loads((Path(stored) / "manifest.json").read_text())["content_digest"]


def test_sets(server, inputs, other, tmp_path):
    """The inputs were made in another folder, by the same command or other ones."""
    line = f"{PRECOMPUTE} --teacher {inputs.teacher} --store images"
    again = server.run(line, tmp_path / "cwd")
    assert digest(again) == content_digest(inputs.images)
    run = tmp_path / "cwd" / again.answer["distillation_set"]
    assert outcome(run.parent) == outcome(Path(inputs.images).parent)
    assert digest(again) == content_digest(inputs.replay) != content_digest(other)


@pytest.mark.slow
def test_students_of_either_store(server, inputs, undisturbed, tmp_path):
    """Images, replayed views and views held in memory train the same weights."""
    found = {digest(undisturbed("student")[0])}
    for number, resident in enumerate(("never", "always")):
        line = f"{STUDENT} --distillation-set {inputs.replay} --resident {resident}"
        found.add(digest(server.run(line, tmp_path / f"{number}")))
    assert len(found) == 1
    line = f"{STUDENT} --distillation-set {inputs.images} --seed 1"
    assert digest(server.run(line, tmp_path / "other")) not in found


@pytest.mark.slow
def test_deterministic_kernels_give_the_same_student(
    server, inputs, undisturbed, tmp_path
):
    """Of a student they are what is used on a CPU anyway."""
    line = f"{STUDENT} --distillation-set {inputs.images} --deterministic"
    plain, _ = undisturbed("student")
    assert digest(server.run(line, tmp_path / "cwd")) == digest(plain)


@pytest.mark.slow
def test_teachers_and_baselines_with_every_random_layer(server, tmp_path):
    for line in (
        "teacher --filters 4,4,6 --dense 8 --epochs 2 --schedule cosine",
        "baseline --budget 2000 --convs 1 --epochs 2 --schedule cosine",
    ):
        name = line.split()[0]
        options = ("", "", "--deterministic", "--deterministic", "--seed 1")
        runs = [
            server.run(f"{line} {option}", tmp_path / f"{name}{number}")
            for number, option in enumerate(options)
        ]
        # Whether the two kinds of kernels agree depends on the processor.
        same, again, kernels, kernels_again, other = map(digest, runs)
        assert same == again != other
        assert kernels == kernels_again != other
