"""Starts the tests of `on_jax/`, and trainings' own, on the JAX engine."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_trainings

ROOT = Path(__file__).resolve().parents[1]
# Written for any engine: they name no operation of TensorFlow's but in their data.
SHARED = ["tests/training/test_fit.py", "tests/training/test_fit_text.py"]


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="jax is not installed: kerasdistill[jax]",
)
@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (small_trainings.FEW, "engine and not slow"),
        pytest.param(small_trainings.ALL, "slow or not slow", marks=pytest.mark.slow),
    ],
    ids=["few", "all"],
)
def test_trainings_on_jax(names, chosen, tmp_path):
    arrays = {}
    for name in names:
        for number, each in enumerate(small_trainings.trained(name)):
            arrays[f"{name}/{number:03d}"] = each
    np.savez(tmp_path / "trained.npz", **arrays)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", chosen]
        + ["-p", "no:cacheprovider", "tests/on_jax", *SHARED],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "2",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
            "TRAINED_ON_TENSORFLOW": str(tmp_path / "trained.npz"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
