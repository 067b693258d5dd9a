"""Ports, chiefs in threads and programs in processes for the cluster's tests."""

import contextlib
import os
import signal
import socket
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


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Programs:
    """Chiefs and workers as processes; all are killed at the end."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.started: list[subprocess.Popen] = []

    def start(self, role: str, options: str = "{}") -> subprocess.Popen:
        """`role` is chief or a worker's name; `options` JSON."""
        log = self.log(len(self.started))
        with open(log, "wb") as file:
            program = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("search_program.py")),
                    *(str(self.folder), role, self.address, options),
                ],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.started.append(program)
        return program

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
def programs(tmp_path, address):
    started = Programs(tmp_path, address)
    yield started
    started.stop()
