"""The Apache Beam job that scores views with a teacher and writes a distillation set.

Beam is imported here and nowhere else. The unit of work is a shard, its inner unit
a block: a fixed list of sample ids of one pass, scored in one batch of a fixed size
by a process with one TensorFlow thread, so no result depends on the number of
workers, on shards or on restarts.
"""

import contextlib
import difflib
import hashlib
import json
import logging
import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.runner import PipelineRunner, create_runner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from kerasdistill import errors
from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.models import loading
from kerasdistill.recipes.base import Augmentation
from kerasdistill.seeds import view_seeds
from pipelines import augment, records, scoring
from pipelines.datasets import Examples, ImageData
from pipelines.layout import (
    BLOCK_VIEWS,
    MANIFEST_NAME,
    PLAN_NAME,
    VALIDATION_PASS,
    VIEWS_PER_SHARD,
    Layout,
    sidecar_name,
)
from pipelines.manifest import Manifest
from pipelines.planning import (
    check_arguments,
    check_disk,
    finished_manifest,
    refuse_other_request,
    request_fields,
)

Progress = Callable[[int, int, float | None], None]

_RUNNERS_IN_PROCESS = ("fnapirunner", "directrunner", "direct")
_PIECE_BYTES = 1 << 20
_FIELDS = ("images", "labels", "sample_ids")  # of Examples, in its order
_SCRATCH = ".work"
_WORKER_LOG = f"{_SCRATCH}/workers.log"
_WORKER_DIED = (
    "a worker process ended unexpectedly (killed, or out of memory?); finished shards "
    "are kept: run the same command again, with fewer workers if memory was short"
)


@dataclass(frozen=True)
class PrecomputeResult:
    """What a run of the job did.

    `views` and `bytes` are those of the whole set; `views_per_second` is the rate of
    this run's own scoring, start of the workers included (0 if nothing was left).
    """

    distillation_set: str
    content_digest: str
    views: int
    bytes: int
    views_per_second: float
    shards_done: int
    shards_skipped: int


@dataclass(frozen=True)
class Job:
    """What every worker is told; all paths can be opened by Beam's FileSystems."""

    output: str
    teachers: tuple[str, ...]
    transfer_set: str
    augmentation: Augmentation
    store: str
    layout: Layout

    @property
    def scratch(self) -> str:
        """Folder of unfinished files, inside the set."""
        return _join(self.output, _SCRATCH)

    @property
    def failure(self) -> str:
        """Where a worker explains why the job cannot be done."""
        return _join(self.scratch, "failure.txt")


def run(
    *,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Augmentation,
    passes: int,
    store: str,
    output: str,
    seed: int,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    views_per_shard: int = VIEWS_PER_SHARD,
    block_views: int = BLOCK_VIEWS,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> PrecomputeResult:
    """Makes, finishes or extends a distillation set.

    Shards that are already there and whole are kept. Asking for more passes than a
    finished set has adds them; the old manifest stays valid until the new one
    replaces it.

    Args:
        teacher_paths: `.keras` files; the stored logits are the mean of theirs.
        data: the transfer set is its train split.
        augmentation: how views are made.
        passes: augmented sweeps over the transfer set.
        store: "images" (pixels and logits) or "replay" (seeds and logits).
        output: directory of the set, anything Beam's FileSystems can write.
        seed: chooses views and their order.
        workers: processes of Beam's in-process runner (None: one per core, or a
            single one where there is a GPU).
        beam_options: Beam's own options, see `beam_options`.
        views_per_shard: size of a shard; no effect on contents or order.
        block_views: views scored in one batch.
        force: accept a card-less teacher that disagrees with the labels.
        command: what finishes this set; errors about an unfinished set quote it.
        progress: called with (shards ready, shards in all, seconds left or None).

    Raises:
        UserError: the request cannot be met; nothing expensive was done.
        StaleArtifactError: `output` holds a set of another request.
    """
    check_arguments(
        teacher_paths=teacher_paths,
        store=store,
        passes=passes,
        workers=workers,
        views_per_shard=views_per_shard,
        block_views=block_views,
    )
    options = _pipeline_options(beam_options)
    output = _absolute(output)
    runner = _runner(options, beam_options, workers, log=_join(output, _WORKER_LOG))
    layout = Layout(
        num_samples=len(data.train),
        num_validation=len(data.validation),
        passes=passes,
        seed=seed,
        block_views=block_views,
        views_per_shard=views_per_shard,
    )
    request = request_fields(
        teacher_paths=teacher_paths,
        data=data,
        augmentation=augmentation,
        store=store,
        layout=layout,
        force=force,
    )
    _claim(output, request)
    done = _finished_shards(output, layout)
    todo = [shard for shard in layout.shards() if layout.shard_name(*shard) not in done]
    views = sum(layout.shard_views(*shard) for shard in todo)
    if FileSystems.get_scheme(output) is None:
        check_disk(output, views=views, store=store, data=data)
    seconds = 0.0
    if todo:
        _write_plan(output, request, layout, command)
        began = time.monotonic()
        job = _stage(output, teacher_paths, data, augmentation, store, layout)
        with _reporting(job, len(done), todo, progress):
            _run_pipeline(job, todo, options, runner)
        seconds = time.monotonic() - began
    manifest = _publish_manifest(output, request, layout)
    _delete_scratch(output)
    return PrecomputeResult(
        distillation_set=output,
        content_digest=manifest.content_digest,
        views=manifest.views,
        bytes=sum(shard.bytes for shard in manifest.shards),
        views_per_second=views / seconds if seconds else 0.0,
        shards_done=len(todo),
        shards_skipped=len(done),
    )


def split_beam_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts arguments into those that Beam's PipelineOptions know and all others.

    An option takes the plain words after it along. UserError if a known option has
    a value that Beam refuses.
    """
    parser = _beam_parser()
    known: list[str] = []
    unknown: list[str] = []
    side = unknown
    for word in argv:
        if word.startswith("--"):
            name = word.split("=", 1)[0]
            side = known if name in parser._option_string_actions else unknown
        side.append(word)
    _, leftover = parser.parse_known_args(known)
    return [word for word in known if word not in leftover], unknown + leftover


def beam_options(argv: Sequence[str], *, own_options: Sequence[str] = ()) -> list[str]:
    """The arguments to hand to Beam; after `--` everything passes unseen.

    Args:
        argv: what the command line did not recognise itself.
        own_options: its own option names, offered as corrections.

    Raises:
        UserError: an option that Beam does not know, with the nearest known name.
    """
    argv = list(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    known, unknown = split_beam_options(argv[:end])
    if unknown:
        name = unknown[0].split("=", 1)[0]
        names = [*own_options, *_beam_parser()._option_string_actions]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(
            f"option {name} is not known to precompute or to Beam{hint} "
            "(arguments after -- pass unchecked)"
        )
    return known + argv[end + 1 :]


def print_progress(ready: int, total: int, seconds_left: float | None) -> None:
    """A `progress` that prints one line to stderr."""
    left = "" if seconds_left is None else f", {_clock(seconds_left)} left"
    print(f"precompute: {ready} of {total} shards{left}", file=sys.stderr, flush=True)


class ScoreShards(beam.DoFn):
    """(pass, number) of a shard -> the shard and its sidecar on disk -> its name."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def setup(self) -> None:
        """Once per worker: TensorFlow on one thread, transfer set, teachers."""
        scoring.pin_to_one_thread()
        scoring.allow_gpu_growth()
        job = self._job
        with tempfile.TemporaryDirectory() as folder:
            path = _local_copy(job.transfer_set, folder)
            with np.load(path) as arrays:
                self._train, self._validation = (
                    Examples(*(arrays[f"{split}_{field}"] for field in _FIELDS))
                    for split in ("train", "validation")
                )
            teachers = [
                loading.load(_local_copy(path, folder)) for path in job.teachers
            ]
        self._score = scoring.Scorer(
            teachers,
            augmentation=job.augmentation,
            block_views=job.layout.block_views,
        )

    def process(self, shard: tuple[int, int]) -> list[str]:
        """Writes one shard; says why in the job's failure file when it cannot."""
        job, (pass_index, number) = self._job, shard
        if FileSystems.exists(job.failure):
            return []  # another worker has met what stops the whole job
        name = job.layout.shard_name(pass_index, number)
        try:
            self._write_shard(name, pass_index, number)
        except UserError as error:
            _put(job.failure, f"shard {name}: {error}".encode(), job.scratch)
            raise
        return [name]

    def _write_shard(self, name: str, pass_index: int, number: int) -> None:
        job, rows = self._job, self._job.layout.rows(pass_index)
        # Nobody reads the validation images from here: their logits are enough.
        store = "replay" if pass_index == VALIDATION_PASS else job.store
        digests, agreeing, views = [], 0, 0
        with tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, name)
            with tf.io.TFRecordWriter(local) as writer:
                for block_index in job.layout.shard_blocks(pass_index, number):
                    block = self._block(pass_index, block_index, rows)
                    writer.write(records.encode(block, store=store))
                    digests.append([pass_index, block_index, block.digest()])
                    agreeing += int((block.logits.argmax(1) == block.labels).sum())
                    views += len(block.labels)
            size, sha256 = _put_file(_join(job.output, name), local, job.scratch)
        sidecar = {
            "name": name,
            "bytes": size,
            "sha256": sha256,
            "views": views,
            "teacher_label_agreement": agreeing / views,
            "block_digests": digests,
        }
        # Last: a shard counts as finished once its sidecar is there.
        _put_json(_join(job.output, sidecar_name(name)), sidecar, job.scratch)

    def _block(self, pass_index: int, index: int, rows: np.ndarray) -> records.Block:
        layout = self._job.layout
        chosen = layout.block_rows(rows, index)
        if pass_index == VALIDATION_PASS:
            block = self._validation.take(chosen)
            seeds, pixels = np.zeros_like(block.sample_ids), block.images
        else:
            block = self._train.take(chosen)
            seeds = view_seeds(
                block.sample_ids, pass_index=pass_index, seed=layout.seed
            )
            pixels = self._score.views(block.images, seeds)
        logits = self._score.logits(pixels)
        return records.Block(
            pass_index, index, block.sample_ids, block.labels, seeds, pixels, logits
        )


def _claim(output: str, request: dict[str, Any]) -> None:
    """Refuses a directory that holds a set of another request."""
    for name in (MANIFEST_NAME, PLAN_NAME):
        path = _join(output, name)
        if not FileSystems.exists(path):
            continue
        try:
            value = json.loads(_get(path))
            earlier = value if name == MANIFEST_NAME else value["request"]
            refuse_other_request(request, earlier, output=output)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StaleArtifactError(
                f"{path} is damaged ({error!r}); delete the directory or choose another"
            ) from error


def _finished_shards(output: str, layout: Layout) -> dict[str, dict[str, Any]]:
    """Sidecars of the shards that are there and whole, by shard name."""

    def check(name: str) -> dict[str, Any] | None:
        path, sidecar_path = _join(output, name), _join(output, sidecar_name(name))
        if not FileSystems.exists(sidecar_path) or not FileSystems.exists(path):
            return None
        try:
            sidecar = json.loads(_get(sidecar_path))
            whole = (sidecar["name"], sidecar["bytes"], sidecar["sha256"]) == (
                name,
                *_measure(path),
            )
        except (ValueError, KeyError, TypeError):
            return None
        return sidecar if whole else None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        names = layout.shard_names()
        found = zip(names, pool.map(check, names), strict=True)
        return {name: sidecar for name, sidecar in found if sidecar is not None}


def _write_plan(
    output: str, request: dict[str, Any], layout: Layout, command: str | None
) -> None:
    command = command or (
        f"python -m kerasdistill.cli precompute --resume {shlex.quote(output)}"
    )
    plan = {"request": request, "layout": asdict(layout), "command": command}
    try:
        _put_json(_join(output, PLAN_NAME), plan, _join(output, _SCRATCH))
    except (OSError, BeamIOError) as error:
        raise UserError(
            f"cannot write to {output} ({error}); choose another --workdir"
        ) from error


def _stage(
    output: str,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Augmentation,
    store: str,
    layout: Layout,
) -> Job:
    """Puts teachers and transfer set where every worker can read them."""
    scratch = _join(output, _SCRATCH)
    teachers = tuple(
        _join(scratch, f"teacher-{index}.keras") for index in range(len(teacher_paths))
    )
    job = Job(
        output=output,
        teachers=teachers,
        transfer_set=_join(scratch, "transfer_set.npz"),
        augmentation=augmentation,
        store=store,
        layout=layout,
    )
    for source, target in zip(teacher_paths, teachers, strict=True):
        _put_file(target, source, scratch)
    splits = {"train": data.train, "validation": data.validation}
    arrays = {
        f"{split}_{field}": getattr(examples, field)
        for split, examples in splits.items()
        for field in _FIELDS
    }
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "transfer_set.npz")
        np.savez(local, **arrays)
        _put_file(job.transfer_set, local, scratch)
    if FileSystems.exists(job.failure):
        FileSystems.delete([job.failure])
    return job


def _run_pipeline(
    job: Job,
    todo: Sequence[tuple[int, int]],
    options: PipelineOptions,
    runner: PipelineRunner,
) -> None:
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    try:
        pipeline = beam.Pipeline(runner=runner, options=options)
        _ = (
            pipeline
            | "Shards" >> beam.Create(list(todo))
            | "Score" >> beam.ParDo(ScoreShards(job))
        )
        with _watching_workers(job):
            pipeline.run().wait_until_finish()
    except Exception as error:
        # Runners wrap what a worker raised in their own errors and tracebacks.
        _raise_failure(job, error)
        raise
    _raise_failure(job, None)


def _raise_failure(job: Job, cause: Exception | None) -> None:
    if not FileSystems.exists(job.failure):
        return
    message = _get(job.failure).decode()
    if message == _WORKER_DIED:
        message += f" (log of the workers: {_join(job.output, _WORKER_LOG)})"
        raise RuntimeError(message) from cause
    raise UserError(message) from cause


def _pipeline_options(argv: Sequence[str]) -> PipelineOptions:
    options = PipelineOptions(list(argv))
    name = (options.view_as(StandardOptions).runner or "").rsplit(".", 1)[-1].lower()
    if name.startswith("prism") and not any("prism_location" in word for word in argv):
        raise UserError(
            "PrismRunner downloads a program; give its place with --prism_location, or "
            "leave --runner out for the in-process runner"
        )
    return options


def _runner(
    options: PipelineOptions, argv: Sequence[str], workers: int | None, *, log: str
) -> PipelineRunner:
    """The in-process runner with worker processes, unless the options say else.

    Never Beam's DirectRunner: it first tries to download a Go program.
    """
    name = options.view_as(StandardOptions).runner or "FnApiRunner"
    if name.rsplit(".", 1)[-1].lower() not in _RUNNERS_IN_PROCESS:
        try:
            return create_runner(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"runner {name} cannot be used: {error}") from error
    direct = options.view_as(DirectOptions)
    mode_given = "--direct_running_mode" in " ".join(argv)
    in_this_process = mode_given and direct.direct_running_mode != "multi_processing"
    if workers or "--direct_num_workers" not in " ".join(argv):
        default = 1 if in_this_process else _default_workers()
        direct.direct_num_workers = workers or default
    if in_this_process:
        return FnApiRunner()
    # Not "multi_processing": Beam would then replace the environment by one of its
    # own, whose workers find our packages and TensorFlow's thread count by chance.
    direct.direct_running_mode = None
    command = _worker_command(log if FileSystems.get_scheme(log) is None else None)
    return FnApiRunner(
        default_environment=_WatchedEnvironment.from_command_string(command)
    )


def _worker_command(log: str | None) -> str:
    roots = [str(Path(module.__file__).parents[1]) for module in (augment, errors)]
    paths = [*dict.fromkeys(roots), os.environ.get("PYTHONPATH", "")]
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    words = [f"{name}={value}" for name, value in environment.items()]
    # What Beam's workers say below an error is noise; errors come back as exceptions.
    start = (
        "import logging; logging.disable(logging.WARNING); "
        "from apache_beam.runners.worker.sdk_worker_main import main; main([])"
    )
    # stdout may be read as JSON by whoever called us, and stderr shows progress.
    aside = f"1>>{shlex.quote(log)} 2>&1" if log else "1>&2"
    return f"exec env {shlex.join([*words, sys.executable, '-c', start])} {aside}"


def _default_workers() -> int:
    if tf.config.list_physical_devices("GPU"):
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _WatchedEnvironment(SubprocessSDKEnvironment):
    """Beam's worker processes under a watch: see `_watching_workers`."""

    URN = "kerasdistill:env:watched_process:v1"

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return self.URN, self.command_string.encode()


@contextlib.contextmanager
def _watching_workers(job: Job) -> Iterator[None]:
    """Lets the pipeline fail, rather than wait for ever, when a worker dies.

    Beam's runner does not notice the end of a worker process: if memory runs out
    and the system kills one, it would hang.
    """

    class Watched(SubprocessSdkWorkerHandler):
        stopping = False

        def start_worker(self) -> None:
            super().start_worker()
            threading.Thread(target=self.watch, daemon=True).start()

        def close(self) -> None:
            self.stopping = True
            if self.worker_thread.is_alive():  # else its connections are broken
                super().close()

        def watch(self) -> None:
            self.worker_thread.join()
            if not self.stopping and not FileSystems.exists(job.failure):
                _put(job.failure, _WORKER_DIED.encode(), job.scratch)
            while not self.stopping:  # answer in its place: the runner waits for it
                waiting = self.control_conn._futures_by_id
                for name in list(waiting):
                    answer = beam_fn_api_pb2.InstructionResponse(
                        instruction_id=name, error=_WORKER_DIED
                    )
                    waiting.pop(name).set(answer)
                time.sleep(0.5)

    known = WorkerHandler._registered_environments
    WorkerHandler.register_environment(_WatchedEnvironment.URN, bytes)(Watched)
    try:
        yield
    finally:
        del known[_WatchedEnvironment.URN]


class _reporting:
    """Counts finished shards in a thread while the pipeline runs."""

    def __init__(
        self,
        job: Job,
        skipped: int,
        todo: Sequence[tuple[int, int]],
        progress: Progress | None,
    ) -> None:
        self._progress, self._skipped = progress, skipped
        self._pending = [
            _join(job.output, sidecar_name(job.layout.shard_name(*shard)))
            for shard in todo
        ]
        remote = FileSystems.get_scheme(job.output) is not None
        self._interval = 15.0 if remote else 1.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        # A damaged shard's sidecar is still there: it must not count as ready.
        stale = [path for path in self._pending if FileSystems.exists(path)]
        if stale:
            FileSystems.delete(stale)
        if self._progress:
            self._thread.start()

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        if self._progress:
            self._thread.join()

    def _watch(self) -> None:
        total, began, ready = len(self._pending), time.monotonic(), 0
        self._progress(self._skipped, self._skipped + total, None)
        while self._pending:
            stopping = self._stop.wait(self._interval)
            self._pending = [p for p in self._pending if not FileSystems.exists(p)]
            if (now := total - len(self._pending)) > ready:
                ready = now
                left = (time.monotonic() - began) / ready * (total - ready)
                self._progress(self._skipped + ready, self._skipped + total, left)
            if stopping:
                return


def _publish_manifest(output: str, request: dict[str, Any], layout: Layout) -> Manifest:
    sidecars = []
    for name in layout.shard_names():
        path = _join(output, sidecar_name(name))
        if not FileSystems.exists(path):
            raise StaleArtifactError(
                f"{output}: shard {name} was not written; run the same command again"
            )
        sidecars.append(json.loads(_get(path)))
    path = _join(output, MANIFEST_NAME)
    manifest = finished_manifest(request, sidecars, where=path)
    _put_json(path, manifest.to_json(), _join(output, _SCRATCH))
    return manifest


def _delete_scratch(output: str) -> None:
    try:
        FileSystems.delete([_join(output, _SCRATCH)])
    except BeamIOError as error:  # the set is complete all the same
        logging.getLogger(__name__).warning("left %s/.work behind: %s", output, error)


# Files, through Beam: whole or absent, on disk as in a bucket.


def _join(*parts: str) -> str:
    return FileSystems.join(*parts)


def _absolute(path: str) -> str:
    path = os.fspath(path)
    return path if FileSystems.get_scheme(path) else os.path.abspath(path)


def _open(path: str) -> Any:
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def _get(path: str) -> bytes:
    with _open(path) as file:
        return file.read()


def _measure(path: str) -> tuple[int, str]:
    """Size in bytes and hex sha256."""
    size, digest = 0, hashlib.sha256()
    with _open(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _put(path: str, content: bytes, scratch: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "content")
        Path(local).write_bytes(content)
        _put_file(path, local, scratch)


def _put_json(path: str, value: Any, scratch: str) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    _put(path, text.encode(), scratch)


def _put_file(path: str, local: str, scratch: str) -> tuple[int, str]:
    """Copies a local file to `path`, written beside first; size and hex sha256."""
    size, digest = 0, hashlib.sha256()
    beside = _join(scratch, f"{uuid.uuid4().hex}.partial")
    folder, _ = FileSystems.split(path)
    if not FileSystems.exists(folder):
        try:
            FileSystems.mkdirs(folder)
        except BeamIOError:
            if not FileSystems.exists(folder):  # else another worker was faster
                raise
    writing = FileSystems.create(beside, compression_type=CompressionTypes.UNCOMPRESSED)
    with open(local, "rb") as source, writing as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)
            digest.update(piece)
            size += len(piece)
    FileSystems.rename([beside], [path])
    return size, digest.hexdigest()


def _local_copy(path: str, folder: str) -> str:
    """A path that libraries without Beam can open."""
    if FileSystems.get_scheme(path) is None:
        return path
    local = os.path.join(folder, FileSystems.split(path)[1])
    with _open(path) as source, open(local, "wb") as target:
        shutil.copyfileobj(source, target, _PIECE_BYTES)
    return local


def _beam_parser() -> Any:
    class Parser(_BeamArgumentParser):
        def error(self, message: str) -> None:
            raise UserError(f"Beam refuses an option: {message}")

    parser = Parser(allow_abbrev=False, add_help=False)
    kinds = {str(kind): kind for kind in PipelineOptions.__subclasses__()}
    for kind in kinds.values():
        kind._add_argparse_args(parser)
    return parser


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
