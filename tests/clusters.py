"""Clusters of real processes, for tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Programs:
    """Programs in process groups of their own; all are killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def start(self, *arguments: object) -> subprocess.Popen:
        environment = {
            **os.environ,
            # Beam's worker pool starts "python".
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        with open(self.folder / f"program-{len(self.started)}.log", "wb") as log:
            program = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(program)
        return program

    def stop(self) -> None:
        for program in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def wait_for(condition, *, seconds=60):
    """What `condition` returns as soon as it is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)
    return found


class DaskCluster:
    """A scheduler and workers, as real processes that nobody restarts."""

    def __init__(self, programs: Programs, *, threads: int = 1) -> None:
        from dask.distributed import Client

        file = programs.folder / "scheduler.json"
        place = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard")
        self.scheduler = programs.start(
            "dask", "scheduler", *place, "--scheduler-file", file
        )
        wait_for(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        options = ("--nthreads", threads, "--no-nanny", "--no-dashboard")
        options += ("--memory-limit", 0, "--local-directory", programs.folder)
        self.workers = [
            programs.start("dask", "worker", self.address, *options) for _ in range(2)
        ]
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

    @property
    def options(self) -> list[str]:
        return ["--runner=DaskRunner", f"--dask_client_address={self.address}"]

    def run(self, function) -> list:
        """What `function` returns in each worker process."""
        from dask.distributed import Client

        with Client(self.address, set_as_default=False) as client:
            return list(client.run(function).values())
