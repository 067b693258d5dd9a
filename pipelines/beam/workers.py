"""What a process becomes when it scores shards, whichever runner started it."""

import os
import socket
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import __version__, devices
from kerasdistill.errors import UserError
from pipelines import scoring
from pipelines.sources.source import Source
from pipelines.stored.scorer import Scorer


@dataclass(frozen=True, eq=False)
class Tools:
    """What scoring takes: loaded once a process, shared by its threads."""

    train: Source
    validation: Source
    score: Scorer


@dataclass(frozen=True)
class Process:
    """Who and what a process is; the one that asked goes with the job."""

    host: str
    pid: int
    versions: tuple[str, ...]

    @classmethod
    def this(cls) -> "Process":
        versions = {
            "kerasdistill": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        }
        named = tuple(f"{name} {version}" for name, version in versions.items())
        return cls(socket.gethostname(), os.getpid(), named)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


def prepare_process(asked_by: Process) -> None:
    """TensorFlow deterministic and on one thread, in the versions that were asked.

    Raises:
        UserError: this process would label with other versions, or in another order
            of summation, than the set's manifest and its other workers.
    """
    # Read by TensorFlow before its first operation.
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    scoring.pin_to_one_thread()
    devices.allow_gpu_growth()
    this = Process.this()
    for asked, found in zip(asked_by.versions, this.versions, strict=True):
        if asked != found:
            raise UserError(
                f"worker {this} has {found}, the set is asked for with {asked}; "
                "install the same there"
            )
    # A runner may work in the very process that asked, which keeps its threads.
    shared = (this.host, this.pid) == (asked_by.host, asked_by.pid)
    if not shared and not scoring.pinned_to_one_thread():
        raise UserError(
            f"worker {this} has run TensorFlow on several threads before; restart it "
            "with TF_NUM_INTRAOP_THREADS=1 in its environment"
        )
