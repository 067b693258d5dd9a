"""How fast the job's workers will be: some of them score a few random views."""

import heapq
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kerasdistill import terminal
from kerasdistill.models import loading, trust
from kerasdistill.training import engines
from pipelines import scoring
from pipelines.beam import runners
from pipelines.stored.scorer import Scorer
from pipelines.views import augment

MOST_PROBES = 4  # processes at once: enough to see them share cores and memory
_BLOCK_VIEWS = 128
_SECONDS = 1.5
_JOB_SECONDS = 2.0  # Beam's own start and end around the workers'
_PATIENCE = 180  # seconds after which the probes are given up


@dataclass(frozen=True)
class WorkerSpeed:
    """One worker's pace beside the others: views per second, seconds to start."""

    views_per_second: float
    startup_seconds: float


def count_workers(beam_options: Sequence[str], workers: int | None) -> int | None:
    """As `runners.local_workers`, of Beam's options as they are given."""
    options = runners.pipeline_options(beam_options)
    return runners.local_workers(options, beam_options, workers)


def measure(
    teacher_paths: Sequence[str],
    *,
    image_shape: tuple[int, int, int],
    augmentation: Any,
    workers: int,
) -> WorkerSpeed | None:
    """Lets up to `MOST_PROBES` processes do what a worker does, all at once.

    Each starts in a worker's environment (one TensorFlow thread), loads the teachers
    and makes and scores views of random pixels: a block to warm up, then for about
    two seconds. Cores and memory are shared as they will be in the job. With 0
    `workers` this very process does it. Returns the mean of their rates and the slowest
    start, loading and compiling included; None if a probe failed: the job will say why.
    """
    request = {
        "teachers": [os.path.abspath(path) for path in teacher_paths],
        "image_shape": list(image_shape),
        "augmentation": augment.to_json(augmentation),
        "began": time.monotonic(),  # one clock for all processes of a machine
    }
    if not workers:
        return timed(request)
    command = [*_worker_words(), json.dumps(request)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    count = min(workers, MOST_PROBES)
    probes = [subprocess.Popen(command, **pipes) for _ in range(count)]
    until = time.monotonic() + _PATIENCE
    try:
        speeds = [
            WorkerSpeed(**json.loads(probe.communicate(timeout=until - now)[0]))
            for probe in probes
            if (now := time.monotonic())
        ]
    except (subprocess.TimeoutExpired, ValueError, TypeError):
        return None
    finally:
        for probe in probes:
            probe.kill()
            probe.wait()
            probe.stdout.close()
    return WorkerSpeed(
        views_per_second=sum(each.views_per_second for each in speeds) / len(speeds),
        startup_seconds=max(each.startup_seconds for each in speeds),
    )


def expected_seconds(
    shard_views: Sequence[int], *, workers: int, speed: WorkerSpeed
) -> float:
    """What scoring shards of so many views takes; each is one worker's to the end."""
    if not shard_views:
        return 0.0
    busy = [0] * max(1, workers)  # views of each worker: the least busy takes the next
    for views in shard_views:
        heapq.heapreplace(busy, busy[0] + views)
    around = _JOB_SECONDS if workers else 0.0
    return speed.startup_seconds + max(busy) / speed.views_per_second + around


def timed(request: dict, clock: Callable[[], float] = time.monotonic) -> WorkerSpeed:
    """Does in this process what one worker would; see `measure`."""
    with trust.trusting(True):  # the caller has loaded them under its own rule
        teachers = [loading.load(path) for path in request["teachers"]]
    augmentation = augment.from_json(request["augmentation"])
    score = Scorer(teachers, augmentation=augmentation, block_views=_BLOCK_VIEWS)
    shape = (_BLOCK_VIEWS, *request["image_shape"])
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    def a_block(number: int) -> None:
        seeds = np.arange(_BLOCK_VIEWS) + number * _BLOCK_VIEWS
        score.scores(score.views(images, seeds)["image"])

    a_block(0)  # compiles
    began, blocks = clock(), 0
    startup = began - request["began"]
    while blocks < 1 or clock() - began < _SECONDS:
        blocks += 1
        a_block(blocks)
    rate = blocks * _BLOCK_VIEWS / (clock() - began)
    return WorkerSpeed(views_per_second=rate, startup_seconds=startup)


def main(request: str) -> None:
    """A probe process: prints its speed as JSON."""
    scoring.pin_to_one_thread()
    engines.settle()
    engines.current().allow_gpu_growth()
    terminal.answer(json.dumps(asdict(timed(json.loads(request)))))


def _worker_words() -> list[str]:
    # `exec env NAME=VALUE ... python -c ...`: the workers' variables, our program.
    words = shlex.split(runners._worker_command(None))
    code = "import sys; from pipelines.beam import probe; probe.main(sys.argv[1])"
    return [*words[1 : words.index(sys.executable)], sys.executable, "-c", code]
