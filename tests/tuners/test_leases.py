"""Leases under a clock of the test's own; nothing heavy is imported."""

import pytest

from tuners.leases import Leases, TakenError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases(clock):
    return Leases(seconds=10, clock=clock)


def test_a_lease_lasts_while_its_holder_is_heard(leases, clock):
    leases.hear("1", session="a")
    for _ in range(5):
        clock.now += 9
        leases.hear("1", session="a")
        assert leases.expired() == []
    clock.now += 10
    assert leases.expired() == []
    clock.now += 0.1
    assert leases.expired() == ["1"]
    assert leases.expired() == [] and leases.live() == []


def test_a_name_is_one_process_until_its_lease_runs_out(leases, clock):
    leases.hear("1", session="a")
    with pytest.raises(TakenError, match="^a$"):
        leases.hear("1", session="b")
    leases.hear("2", session="b")
    clock.now += 11
    leases.hear("2", session="b")
    assert leases.expired() == ["1"]
    leases.hear("1", session="c")
    with pytest.raises(TakenError):
        leases.hear("1", session="a")
    assert sorted(leases.live()) == ["1", "2"]


def test_a_worker_that_left_is_no_longer_alive_whatever_comes_late(leases):
    leases.hear("1", session="a")
    leases.leave("1", session="other")
    assert leases.live() == ["1"]
    leases.leave("1", session="a")
    leases.hear("1", session="a")
    assert leases.live() == []
    leases.hear("1", session="b")
    assert leases.live() == ["1"]


def test_a_restarted_chief_gives_its_workers_time_to_come_back(leases, clock):
    leases.expect("1")
    leases.expect("2")
    clock.now += 8
    leases.hear("1", session="a")
    clock.now += 4
    assert leases.expired() == ["2"]
    assert leases.live() == ["1"]


def test_time_alone_counts_from_the_last_living_worker(leases, clock):
    clock.now += 7
    assert leases.seconds_alone() == 7
    leases.hear("1", session="a")
    clock.now += 8
    assert leases.expired() == []
    assert leases.seconds_alone() == 0
    clock.now += 3
    assert leases.expired() == ["1"]
    clock.now += 2
    assert leases.seconds_alone() == 2
    leases.hear("1", session="b")
    clock.now += 5
    leases.leave("1", session="b")
    clock.now += 1
    assert leases.seconds_alone() == 1
