"""The same command gives the same bits; another seed gives others."""

import pytest

from tests.chaos.harness import PRECOMPUTE, outcome

STUDENT = (
    "student --budget 2000 --convs 1 --epochs 2 --schedule cosine --batch-size 16 "
    "--distillation-set "
)


def digest(ended) -> str:
    assert ended.rc == 0, ended.said[-2000:]
    name = "content_digest" if "content_digest" in ended.answer else "weights_digest"
    return ended.answer[name]


def test_sets(server, inputs, tmp_path):
    line = f"{PRECOMPUTE} --teacher {inputs.teacher}"
    runs = [server.run(line, tmp_path / f"{n}") for n in range(2)]
    assert digest(runs[0]) == digest(runs[1])
    assert outcome(tmp_path / "0") == outcome(tmp_path / "1")
    replay = server.run(f"{line} --store replay", tmp_path / "replay")
    assert digest(replay) == digest(runs[0])
    other = server.run(f"{line} --seed 1", tmp_path / "other")
    assert digest(other) != digest(runs[0])


def test_students_of_either_store(server, inputs, tmp_path):
    """Images, replayed views and views held in memory train the same weights."""
    found = {
        digest(server.run(STUDENT + store, tmp_path / f"{number}"))
        for number, store in enumerate(
            (inputs.images, inputs.replay, f"{inputs.replay} --resident always")
        )
    }
    assert len(found) == 1
    other = server.run(f"{STUDENT}{inputs.images} --seed 1", tmp_path / "other")
    assert digest(other) not in found


def test_deterministic_kernels_give_the_same_student(server, inputs, tmp_path):
    """On a CPU they are what is used anyway; the option makes sure of it."""
    line = f"{STUDENT}{inputs.images} --deterministic"
    plain = server.run(STUDENT + inputs.images, tmp_path / "plain")
    runs = [server.run(line, tmp_path / f"{number}") for number in range(2)]
    assert {digest(run) for run in runs} == {digest(plain)}


@pytest.mark.slow
def test_teachers_and_baselines_with_every_random_layer(server, tmp_path):
    for line in (
        "teacher --filters 4,4,6 --dense 8 --epochs 2 --schedule cosine",
        "baseline --budget 2000 --convs 1 --epochs 2 --schedule cosine",
    ):
        name = line.split()[0]
        runs = [
            server.run(f"{line} {option}", tmp_path / f"{name}{number}")
            for number, option in enumerate(("", "--deterministic", "--seed 1"))
        ]
        same, again, other = map(digest, runs)
        assert same == again != other
