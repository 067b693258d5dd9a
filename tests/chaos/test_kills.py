"""Killed and run again: at every change of the disk, and at random moments.

The commands are real processes that end by SIGKILL, with half of the current write on
disk. What is left is taken up by the same command, which is killed at the next moment
it has not been killed at yet, until there is none; then it ends, and must have made
what an undisturbed run makes, without doing anything finished a second time.
"""

import random

import pytest

from tests.chaos.harness import Chain, killed_at_random
from tests.chaos.table import VERBS

SHORT = ("precompute", "student")  # a few moments each in the normal suite


def killed_at_every_moment(
    server, inputs, undisturbed, name, cwd, *, one_in=1, most=10**6
) -> list[str]:
    """The moments, each tried once."""
    ended, expected = undisturbed(name)
    chain = Chain(server, inputs.fill(VERBS[name].line), cwd)
    done = []
    while not chain.go_on(fault="kill", done=done, one_in=one_in):
        done += chain.last.seen
        if len(done) >= most:
            assert chain.go_on()
            break
    chain.check(ended, expected)
    return done


@pytest.mark.parametrize("name", SHORT)
def test_a_few_moments(name, server, inputs, undisturbed, tmp_path):
    done = killed_at_every_moment(
        server, inputs, undisturbed, name, tmp_path / "cwd", one_in=9, most=3
    )
    assert len(set(done)) == len(done) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, verb in VERBS.items() if verb.counted])
def test_every_moment(name, server, inputs, undisturbed, tmp_path):
    one_in = VERBS[name].one_in
    done = killed_at_every_moment(
        server, inputs, undisturbed, name, tmp_path / "cwd", one_in=one_in
    )
    print(f"{name}: killed at {len(done)} moments, one in {one_in}")
    names = {each for each in undisturbed(name)[0].seen}
    assert len(done) >= len(names) // one_in // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_random_moments(name, server, inputs, undisturbed, tmp_path):
    ended, expected = undisturbed(name)
    line = inputs.fill(VERBS[name].line)
    draw = random.Random(f"{name}, when")
    kills = killed_at_random(server, line, tmp_path, ended, expected, draw)
    print(f"{name}: killed {kills} times")
