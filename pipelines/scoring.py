"""What a manifest says of the teachers and of the machine that scored."""

import logging
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import machine
from kerasdistill.exports.cards import read_card
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.summary import leaf_layers
from kerasdistill.training import engines
from pipelines.stored.layout import AVERAGING

_CPU_FLAGS = ("avx", "amx", "fma", "f16c", "sse4", "asimd", "sve", "bf16")


def signal_fields(teachers: list[keras.Model], paths: Sequence[str]) -> dict[str, Any]:
    """The manifest fields that the teachers and this machine fix."""
    scorer = {"device": engines.current().device()}
    versions = {each.__name__: each.__version__ for each in (tf, keras, np)}
    if (name := keras.backend.backend()) != machine.DEFAULT_BACKEND:
        scorer["engine"] = name
        versions[name] = metadata.version(name)
    return {
        "teachers": [_described(*each) for each in zip(teachers, paths, strict=True)],
        "averaging": AVERAGING,
        "scoring": scorer,
        "environment": {
            **versions,
            "machine": platform.machine(),
            "cpu_features": _cpu_features(),
        },
    }


def _described(teacher: keras.Model, path: str) -> dict[str, Any]:
    policies = {layer.dtype_policy.name for layer in leaf_layers(teacher)}
    described = {
        "weights_digest": weights_digest(teacher),
        "file": Path(path).name,
        "precision": "+".join(sorted(policies)),  # such as float32+mixed_bfloat16
    }
    card = read_card(path) or {}
    if "adapted" in card:  # what was put around somebody else's teacher
        described["adapted"] = card["adapted"]
    return described


def pin_to_one_thread() -> None:
    """Sums are then formed in the same order whatever runs beside this process."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has started: a process that is not a worker's
        if not pinned_to_one_thread():
            logging.getLogger(__name__).info(
                "TensorFlow keeps the thread count of the process it shares"
            )


def pinned_to_one_thread() -> bool:
    """Whether one operation of TensorFlow's uses one thread, by call or environment."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    # 0 is "not set", and only then TensorFlow looks at the environment.
    one_in_environment = os.environ.get("TF_NUM_INTRAOP_THREADS") == "1"
    return threads == 1 or (threads == 0 and one_in_environment)


def _cpu_features() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return sorted(f for f in value.split() if f.startswith(_CPU_FLAGS))
    return []
