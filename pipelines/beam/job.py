"""The Beam pipeline: shards to score go in, shards on disk come out."""

import contextlib
import functools
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from kerasdistill import machine
from kerasdistill.errors import UserError, WorkersLostError
from kerasdistill.models import loading, trust
from kerasdistill.reading_files import open_file
from kerasdistill.training import engines
from pipelines.beam import files
from pipelines.beam.runners import WORKER_DIED, score
from pipelines.beam.shards import SCRATCH, ShardWriter, Work, kept_digests, last_written
from pipelines.beam.workers import Process, Worker
from pipelines.datasets import Examples, ImageData
from pipelines.sources.source import Source
from pipelines.stored import records
from pipelines.stored.layout import VALIDATION_PASS, Layout, member_name, sidecar_name
from pipelines.stored.scorer import Scorer
from pipelines.stored.stores import WITHOUT_PIXELS
from pipelines.stored.targets import StoredTarget, stored_targets
from pipelines.views import augment

WORKER_LOG = f"{SCRATCH}/workers.log"

_FIELDS = ("images", "labels", "sample_ids")  # of Examples, in its order


@dataclass(frozen=True)
class Job:
    """What every worker has to know; all paths can be opened by Beam's FileSystems."""

    output: str
    teachers: tuple[str | None, ...]  # in the manifest's order; None: not needed
    transfer_set: str
    sources: Mapping[str, Source]  # splits that workers read where they lie
    augmentation: Any
    store: str
    logits_dtype: str
    targets: tuple[StoredTarget, ...]
    kept_digests: tuple[str, ...]  # of the teachers whose own logits are kept
    stored_mean_of: int
    layout: Layout

    @property
    def scratch(self) -> str:
        """Folder of unfinished files, inside the set."""
        return files.join(self.output, SCRATCH)

    @property
    def failure(self) -> str:
        """Where a worker explains why the job cannot be done."""
        return files.join(self.scratch, "failure.txt")


@dataclass(frozen=True, eq=False)
class Tools:
    """What scoring takes: loaded once a process, shared by its threads.

    `ahead` is a `map` that may work on what comes next.
    """

    train: Source
    validation: Source
    score: Scorer
    ahead: Callable[[Callable, Iterable], Iterable] = map


class ScoreShards(Worker):
    """A shard to be written (`shards.Work`) -> its files and their sidecars on disk
    -> its name."""

    def setup(self) -> None:
        """As every worker; UserError if this one does not see the set's files."""
        if not FileSystems.exists(self._job.transfer_set):
            # Nor would anybody see a failure file that is written from here.
            raise UserError(
                f"worker {Process.this()} cannot see {self._job.output}; `workdir` "
                "must lie where every worker can reach it by this path"
            )
        with self._failing_the_job():
            super().setup()

    def _load(self) -> Tools:
        job = self._job
        with tempfile.TemporaryDirectory() as folder:
            path = files.local_copy(job.transfer_set, folder)
            with open_file(path, "npz") as file, np.load(file) as arrays:
                held = {
                    split: Examples(*(arrays[f"{split}_{field}"] for field in _FIELDS))
                    for split in {"train", "validation"} - job.sources.keys()
                }
            # The process that staged them has asked whether they are trusted.
            with trust.trusting(True):
                teachers = [
                    path and loading.load(files.local_copy(path, folder))
                    for path in job.teachers
                ]
        scorer = Scorer(
            teachers,
            augmentation=job.augmentation,
            block_views=job.layout.block_views,
            logits_dtype=job.logits_dtype,
            targets=job.targets,
            stored_mean_of=job.stored_mean_of,
        )
        fed = engines.current().device() != "cpu"
        ahead = {"ahead": _by_threads} if fed else {}
        return Tools(**held, **job.sources, score=scorer, **ahead)

    def process(self, work: Work) -> list[str]:
        """Writes one shard; says why in the job's failure file when it cannot."""
        job = self._job
        if FileSystems.exists(job.failure):
            return []  # this or another worker has met what stops the whole job
        name = job.layout.shard_name(*work[:2])
        last = sidecar_name(last_written(job.layout, work, job.kept_digests))
        # Runners repeat what they only lost the answer of, Dask all that a worker did.
        if not FileSystems.exists(files.join(job.output, last)):
            with self._failing_the_job(f"shard {name}: "):
                self._write_shard(name, work)
        return [name]

    @contextlib.contextmanager
    def _failing_the_job(self, where: str = "") -> Iterator[None]:
        """Makes a UserError the job's; runners would retry and log what is raised."""
        job = self._job
        try:
            yield
        except UserError as error:
            files.put(job.failure, f"{where}{error}".encode(), job.scratch)

    def _write_shard(self, name: str, work: Work) -> None:
        pass_index, number, with_views, members = work
        job, rows = self._job, self._job.layout.rows(pass_index)
        # Nobody reads the validation images from here: their logits are enough.
        store = WITHOUT_PIXELS if pass_index == VALIDATION_PASS else job.store
        names = [member_name(name, job.kept_digests[member]) for member in members]
        dtype, targets = job.logits_dtype, job.targets
        with tempfile.TemporaryDirectory() as folder:
            kept = [ShardWriter(folder, each) for each in names]
            views = ShardWriter(folder, name) if with_views else None
            blocks = job.layout.shard_blocks(pass_index, number)
            made = functools.partial(self._views, pass_index, rows)
            for index, chosen, seeds, seen in self._tools.ahead(made, blocks):
                block, each = self._block(
                    pass_index, index, chosen, seeds, seen, members
                )
                for writer, logits in zip(kept, each, strict=True):
                    encoded = records.encode_member(block, logits, logits_dtype=dtype)
                    writer.add(encoded, block, logits, block.member_digest(logits))
                if views:
                    encoded = records.encode(
                        block, store=store, logits_dtype=dtype, targets=targets
                    )
                    digest = block.digest(with_logits=not job.kept_digests)
                    views.add(encoded, block, block.logits, digest)
            for writer in [*kept, *([views] if views else [])]:
                writer.publish(job.output, worker=str(Process.this()))

    def _views(self, pass_index: int, rows: np.ndarray, index: int) -> tuple:
        """A block's index, its examples, and the seeds and fields of their views."""
        layout, tools = self._job.layout, self._tools
        validation = pass_index == VALIDATION_PASS
        split = tools.validation if validation else tools.train
        chosen = split.take(layout.block_rows(rows, index))
        if validation:
            seeds, views = np.zeros_like(chosen.sample_ids), {"image": chosen.images}
        else:
            seeds = augment.view_seeds(
                chosen.sample_ids,
                augmentation=self._job.augmentation,
                pass_index=pass_index,
                seed=layout.seed,
            )
            views = tools.score.views(chosen.images, seeds)
        return index, chosen, seeds, views

    def _block(
        self,
        pass_index: int,
        index: int,
        chosen: Examples,
        seeds: np.ndarray,
        views: dict[str, np.ndarray],
        members: tuple[int, ...],
    ) -> tuple[records.Block, list[np.ndarray]]:
        """The block, and the logits of these members for it."""
        pixels = views.pop("image")
        # Where views are written all members are scored. Otherwise the mean and the
        # targets are of no use, and not written either.
        scores = self._tools.score.scores(pixels, members)
        block = records.Block(
            *(pass_index, index),
            *(chosen.sample_ids, chosen.labels, seeds, pixels, scores.logits),
            targets=scores.targets,
            **views,
        )
        return block, scores.members


def _by_threads(function: Callable, values: Iterable) -> Iterator:
    """As `map`, by a thread for each core, a few values ahead: one process feeds a
    device that scores faster than a core makes views."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(machine.cores()) as pool:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > 2 * machine.cores():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def stage(
    output: str,
    teacher_paths: Mapping[int, str],
    data: ImageData,
    augmentation: Any,
    request: Mapping[str, Any],
    layout: Layout,
) -> Job:
    """Puts teachers and transfer set where every worker can read them.

    `teacher_paths` has those that are needed, by their places among the manifest's;
    `request` the manifest's fields that are known beforehand.
    """
    scratch = files.join(output, SCRATCH)
    teachers = tuple(
        files.join(scratch, f"teacher-{i}.keras") if i in teacher_paths else None
        for i in range(len(request["teachers"]))
    )
    splits = {"train": data.train, "validation": data.validation}
    job = Job(
        output=output,
        teachers=teachers,
        transfer_set=files.join(scratch, "transfer_set.npz"),
        sources={name: each for name, each in splits.items() if not each.in_memory},
        augmentation=augmentation,
        store=request["store"],
        logits_dtype=request["logits_dtype"],
        targets=stored_targets(request.get("targets", {})),
        kept_digests=tuple(kept_digests(request)),
        stored_mean_of=request["stored_mean_of"],
        layout=layout,
    )
    for place, source in teacher_paths.items():
        files.put_file(teachers[place], source, scratch)
    arrays = {
        f"{name}_{field}": getattr(each, field)
        for name, each in splits.items()
        if name not in job.sources
        for field in _FIELDS
    }
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "transfer_set.npz")
        np.savez(local, **arrays)
        files.put_file(job.transfer_set, local, scratch)
    if FileSystems.exists(job.failure):
        files.delete([job.failure])
    return job


def run_pipeline(
    job: Job, todo: Sequence[Work], options: PipelineOptions, runner: PipelineRunner
) -> None:
    """Scores the shards; what stopped a worker comes as an error of ours."""

    def note_death() -> None:
        if not FileSystems.exists(job.failure):
            files.put(job.failure, WORKER_DIED.encode(), job.scratch)

    failed = None
    try:
        how = {"scratch": job.scratch, "on_death": note_death}
        score(todo, ScoreShards(job), options, runner, **how)
    except Exception as error:
        # Runners wrap what a worker raised in their own errors and tracebacks.
        failed = error
    if FileSystems.exists(job.failure):
        message = files.get(job.failure).decode()
        if message != WORKER_DIED:
            raise UserError(message) from failed
        log = files.join(job.output, WORKER_LOG)
        raise WorkersLostError(f"{message} (log of the workers: {log})") from failed
    if failed:
        raise failed
