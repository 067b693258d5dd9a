"""What a process becomes when it scores shards, whichever runner started it."""

import contextlib
import os
import socket
from dataclasses import dataclass
from importlib import metadata
from itertools import zip_longest
from typing import Any

import apache_beam as beam
import keras
import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from kerasdistill import __version__, machine
from kerasdistill.errors import UserError
from kerasdistill.training import engines
from pipelines import scoring
from pipelines.beam import heartbeats


@dataclass(frozen=True)
class Process:
    """Who and what a process is; the one that started the job goes with it."""

    host: str
    pid: int
    versions: tuple[str, ...]

    @classmethod
    def this(cls) -> "Process":
        versions = [("kerasdistill", __version__)]
        versions += [(each.__name__, each.__version__) for each in (tf, keras, np)]
        if (backend := keras.backend.backend()) != machine.DEFAULT_BACKEND:
            versions.append((backend, metadata.version(backend)))
        named = tuple(f"{name} {version}" for name, version in versions)
        return cls(socket.gethostname(), os.getpid(), named)

    def is_same(self, other: "Process") -> bool:
        return (self.host, self.pid) == (other.host, other.pid)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What a process has loaded; it is heard of as long as this lives."""

    tools: Any
    beating: contextlib.ExitStack


class Worker(beam.DoFn):
    """A DoFn whose `_load` a process calls once for all its threads and copies; its
    job has a folder `scratch`."""

    def __init__(self, job: Any) -> None:
        self._job = job
        self._asked_by = Process.this()
        # One key for all copies of this object: they find what a process has loaded.
        self._shared = Shared()

    def setup(self) -> None:
        """Takes what this process has loaded, or loads it.

        Some runners set up anew for every bundle, and in several threads at a time.
        """
        # Kept: the process itself may let go of it.
        self._kept = self._shared.acquire(self._prepared)
        self._tools = self._kept.tools

    def _prepared(self) -> _Prepared:
        this, beating = Process.this(), contextlib.ExitStack()
        if not this.is_same(self._asked_by):
            who = {"host": this.host, "pid": this.pid}
            beating.enter_context(heartbeats.beating(self._job.scratch, **who))
        prepare_process(self._asked_by)
        return _Prepared(self._load(), beating)


def prepare_process(asked_by: Process) -> None:
    """Makes TensorFlow deterministic and single-threaded; UserError if this process
    would label with other versions, or sum in another order, than its manifest says."""
    # Read by TensorFlow before its first operation.
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    scoring.pin_to_one_thread()
    engines.settle()
    engines.current().allow_gpu_growth()
    this = Process.this()
    both = zip_longest(asked_by.versions, this.versions, fillvalue="no other backend")
    for expected, version in both:
        if expected != version:
            raise UserError(
                f"worker {this} has {version}, the set is asked for with {expected}; "
                "install the same there"
            )
    # A runner may work in the very process that asked, which keeps its threads.
    if not this.is_same(asked_by) and not scoring.pinned_to_one_thread():
        raise UserError(
            f"worker {this} has run TensorFlow on several threads before; restart it "
            "with TF_NUM_INTRAOP_THREADS=1 in its environment"
        )
