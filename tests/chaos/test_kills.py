"""Killed and run again: at every change of the disk, and at random moments.

The commands are real processes that end by SIGKILL, with half of the current write on
disk. What is left is taken up by the same command, which is killed at the next moment
it has not been killed at yet, until there is none; then it ends, and must have made
what an undisturbed run makes, without doing anything finished a second time.
"""

import random
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.harness import outcome
from tests.chaos.table import VERBS

SHORT = ("precompute", "student", "export")  # a few moments each in the normal suite
RANDOM_KILLS = 5
EPOCH = re.compile(r"^(epoch \d+/\d+): ", re.MULTILINE)


@pytest.fixture(scope="session")
def undisturbed(server, inputs, tmp_path_factory):
    """The function that gives a verb's run without kills: how it ended, its outcome."""
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


def finished(cwd: Path) -> dict[str, tuple[int, int]]:
    """Files of finished units, which nothing may write again: shards that have their
    sidecar, results of trials and of runs but precompute's, whose results count."""
    units = [p for p in cwd.rglob("results.json") if "precompute" not in p.parent.name]
    for sidecar in cwd.rglob("sidecars/*.json"):
        units += [sidecar, sidecar.parents[1] / sidecar.stem]
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in units}


class Chain:
    """One folder, and all that happens in it until the command has ended well."""

    def __init__(self, server, line: str, cwd: Path):
        self._run = lambda **how: server.run(line, cwd, **how)
        self._cwd = cwd
        self.kills = 0
        self._epochs = Counter()

    def go_on(self, **how) -> bool:
        """Runs the command once more; whether it came to its end."""
        before = finished(self._cwd) if self._cwd.exists() else {}
        self.last = ended = self._run(**how)
        assert not ended.hung
        assert ended.rc in (0, -signal.SIGKILL), ended.said[-3000:]
        after = finished(self._cwd)
        assert {path: after.get(path) for path in before} == before
        # A trial's epochs have the same numbers as its neighbour's: no more than so
        # many lines for each in all.
        self._epochs.update(EPOCH.findall(ended.said))
        self.kills += ended.rc != 0
        return ended.rc == 0

    def check(self, ended, expected) -> None:
        """What is there is what the undisturbed run left, and no epoch was repeated."""
        assert not self._epochs - Counter(EPOCH.findall(ended.said))
        found = outcome(self._cwd)
        assert found.keys() == expected.keys()
        differing = [name for name in expected if found[name] != expected[name]]
        assert not differing


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
        server, inputs, undisturbed, name, tmp_path / "cwd", one_in=9, most=4
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
    draw = random.Random(f"{name}, when")
    ended, expected = undisturbed(name)
    kills = 0
    for number in range(20):
        chain = Chain(server, inputs.fill(VERBS[name].line), tmp_path / f"cwd-{number}")
        while not chain.go_on(after=draw.uniform(0.1, 0.9) * ended.seconds):
            if kills + chain.kills >= RANDOM_KILLS:
                assert chain.go_on()
                break
        chain.check(ended, expected)
        kills += chain.kills
        if kills >= RANDOM_KILLS:
            break
    print(f"{name}: killed {kills} times in {number + 1} folders")
    assert kills >= RANDOM_KILLS
