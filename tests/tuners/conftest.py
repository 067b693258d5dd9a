"""Calls in threads and programs in processes for the cluster's tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Background:
    """A call in a thread: what it returned or raised."""

    def __init__(self, function, *arguments, **options) -> None:
        self.returned = self.raised = None

        def call():
            try:
                self.returned = function(*arguments, **options)
            except BaseException as error:
                self.raised = error

        self.thread = threading.Thread(target=call, daemon=True)
        self.thread.start()

    def wait(self, seconds: float = 30):
        """What it returned; raises what it raised."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "still at it"
        if self.raised is not None:
            raise self.raised
        return self.returned


class Programs:
    """Leaders and workers as processes; all are killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def start(self, role: str, **options) -> subprocess.Popen:
        """`role` is lead or a worker's name."""
        program = Path(__file__).with_name("search_program.py")
        given = (str(self.folder), role, json.dumps(options))
        with open(self.log(len(self.started)), "wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(program), *given],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def log(self, number: int) -> Path:
        return self.folder / f"program-{number}.log"

    def said(self, program: subprocess.Popen) -> str:
        return self.log(self.started.index(program)).read_text()

    def stop(self) -> None:
        for program in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(program.pid, signal.SIGKILL)
            program.wait()


@pytest.fixture
def programs(tmp_path):
    started = Programs(tmp_path)
    yield started
    started.stop()
