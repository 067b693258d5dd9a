"""Workers that stop are named after a while, and again when they go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.beam import heartbeats
from tests.clusters import wait_for

ROOT = Path(__file__).resolve().parents[2]
# Beats every 10 ms, beside work that takes the processor and the interpreter's lock.
WORKER = """
import itertools, os, sys, time
from kerasdistill.pulse import Pulse
with Pulse(sys.argv[1]).beating(f"here-{os.getpid()}", seconds=0.01):
    while sys.argv[2] == "busy":
        sum(range(100_000))
    time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    """The function that starts a worker which is "busy" or "idle"."""
    started = []

    def process(how):
        command = [sys.executable, "-c", WORKER, str(tmp_path / "alive"), how]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, env=environment))
        file = tmp_path / "alive" / f"here-{started[-1].pid}"
        wait_for(lambda: file.exists() and int(file.read_text() or 0) > 2)
        return started[-1].pid

    yield process
    for each in started:
        each.kill()
        each.wait()


def test_a_stopped_worker_is_named_once_and_a_slow_one_never(start, tmp_path):
    said = []
    stopped, busy = start("idle"), start("busy")
    watch = heartbeats.Watch(tmp_path, seconds=0.5, say=said.append)

    def look(count):
        watch.look()
        return len(said) >= count

    until = time.monotonic() + 1
    wait_for(lambda: look(0) and time.monotonic() > until)
    assert not said
    os.kill(stopped, signal.SIGSTOP)
    wait_for(lambda: look(1))
    assert f"here:{stopped} has said nothing for 0.5 s" in said[0]
    until = time.monotonic() + 1
    wait_for(lambda: look(1) and time.monotonic() > until)
    assert len(said) == 1
    os.kill(stopped, signal.SIGCONT)
    wait_for(lambda: look(2))
    assert f"here:{stopped} is heard again" in said[1]
    assert str(busy) not in "".join(said)


def test_a_job_begins_and_ends_without_what_another_left(tmp_path):
    left = tmp_path / "alive" / "here-1"
    left.parent.mkdir()
    left.touch()
    with heartbeats.watching(str(tmp_path)):
        assert not left.exists()
        with heartbeats.beating(str(tmp_path), host="here", pid=2):
            wait_for((tmp_path / "alive" / "here-2").exists)
    assert not left.parent.exists()


def test_buckets_are_left_alone():
    with heartbeats.watching("gs://bucket/set/.work"):
        with heartbeats.beating("gs://bucket/set/.work", host="here", pid=2):
            pass
