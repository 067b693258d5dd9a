"""What there is to compute with, found without starting TensorFlow."""

import contextlib
import json
import os
import re
import sys
from pathlib import Path

from kerasdistill.errors import UserError
from kerasdistill.reading_files import read_bytes

DEFAULT_BACKEND = "tensorflow"

# What TensorFlow's kernels have a use for, the best last.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


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


def total_bytes() -> int:
    """Host memory of the machine; 0 where that can't be known."""
    return 1024 * int(_table(Path("/proc/meminfo")).get("MemTotal:", 0))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def instructions() -> list[str]:
    """Of the vector and matrix instructions that matter here, those it has."""
    path = Path("/proc/cpuinfo")
    flags = set(re.findall(r"\w+", path.read_text() if path.exists() else ""))
    return [name for name in _INSTRUCTIONS if name in flags]


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16."""
    return bool({"avx512_bf16", "amx_bf16"} & set(instructions()))


def has_gpu() -> bool:
    """Whether a driver shows an NVIDIA or AMD GPU; TensorFlow may not see it yet."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def keras_file() -> Path:
    """Where a user's settings of Keras are, if there are any."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    return Path(home, "keras.json")


def keras_backend() -> str:
    """The backend that Keras has chosen, or will choose when it is imported."""
    if (keras := sys.modules.get("keras")) is not None:
        return keras.config.backend()
    named = os.environ.get("KERAS_BACKEND")
    with contextlib.suppress(OSError, ValueError, AttributeError, UserError):
        named = named or json.loads(read_bytes(keras_file(), "json")).get("backend")
    return named or DEFAULT_BACKEND


def _table(path: Path) -> dict[str, str]:
    """First word of every line -> second."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split()[:2] for line in lines)
