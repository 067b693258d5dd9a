"""What this process computes on: replicas and number formats."""

import functools
import re
from pathlib import Path

import tensorflow as tf


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """MirroredStrategy over two or more GPUs, else TensorFlow's default.

    One per process, reused: each MirroredStrategy holds communicators of its own.
    """
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def free_bytes() -> int:
    """Host memory that this process may still take: the machine's or its container's.

    What the operating system caches of files counts as free.
    """
    lines = _table(Path("/proc/meminfo"))
    free = 1024 * int(lines.get("MemAvailable:", 1 << 53))
    group = Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.exists() and limit.read_text().strip().isdigit():
        used = int((group / "memory.current").read_text())
        cached = int(_table(group / "memory.stat").get("inactive_file", 0))
        free = min(free, int(limit.read_text()) - used + cached)
    return free


def _table(path: Path) -> dict[str, str]:
    """First word of every line -> second."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split()[:2] for line in lines)


def resolve_precision(asked: str) -> str:
    """The Keras dtype policy to use for --precision.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16 (amx_bf16 or
    avx512_bf16 on a CPU, compute capability 8.0 on a GPU), else float32.
    """
    if asked != "auto":
        return asked
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capabilities = [d.get("compute_capability", (0, 0)) for d in details]
        return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "float32"
    return "mixed_bfloat16" if _cpu_has_bfloat16() else "float32"


def _cpu_has_bfloat16() -> bool:
    path = Path("/proc/cpuinfo")
    flags = path.read_text() if path.exists() else ""
    return re.search(r"\b(amx_bf16|avx512_bf16)\b", flags) is not None
