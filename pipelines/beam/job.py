"""The Beam pipeline: shards to score go in, shards on disk come out."""

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from kerasdistill.errors import UserError
from kerasdistill.models import loading
from kerasdistill.recipes.base import Augmentation
from kerasdistill.seeds import view_seeds
from pipelines import records, scoring
from pipelines.beam import files
from pipelines.beam.runners import watching_workers
from pipelines.datasets import Examples, ImageData
from pipelines.layout import VALIDATION_PASS, Layout, sidecar_name

SCRATCH = ".work"
WORKER_LOG = f"{SCRATCH}/workers.log"

_FIELDS = ("images", "labels", "sample_ids")  # of Examples, in its order
_WORKER_DIED = (
    "a worker process ended unexpectedly (killed, or out of memory?); finished shards "
    "are kept: run the same command again, with fewer workers if memory was short"
)


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
        return files.join(self.output, SCRATCH)

    @property
    def failure(self) -> str:
        """Where a worker explains why the job cannot be done."""
        return files.join(self.scratch, "failure.txt")


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
            path = files.local_copy(job.transfer_set, folder)
            with np.load(path) as arrays:
                self._train, self._validation = (
                    Examples(*(arrays[f"{split}_{field}"] for field in _FIELDS))
                    for split in ("train", "validation")
                )
            teachers = [
                loading.load(files.local_copy(path, folder)) for path in job.teachers
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
            files.put(job.failure, f"shard {name}: {error}".encode(), job.scratch)
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
            size, sha256 = files.put_file(
                files.join(job.output, name), local, job.scratch
            )
        sidecar = {
            "name": name,
            "bytes": size,
            "sha256": sha256,
            "views": views,
            "teacher_label_agreement": agreeing / views,
            "block_digests": digests,
        }
        # Last: a shard counts as finished once its sidecar is there.
        files.put_json(files.join(job.output, sidecar_name(name)), sidecar, job.scratch)

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


def stage(
    output: str,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Augmentation,
    store: str,
    layout: Layout,
) -> Job:
    """Puts teachers and transfer set where every worker can read them."""
    scratch = files.join(output, SCRATCH)
    teachers = tuple(
        files.join(scratch, f"teacher-{index}.keras")
        for index in range(len(teacher_paths))
    )
    job = Job(
        output=output,
        teachers=teachers,
        transfer_set=files.join(scratch, "transfer_set.npz"),
        augmentation=augmentation,
        store=store,
        layout=layout,
    )
    for source, target in zip(teacher_paths, teachers, strict=True):
        files.put_file(target, source, scratch)
    splits = {"train": data.train, "validation": data.validation}
    arrays = {
        f"{split}_{field}": getattr(examples, field)
        for split, examples in splits.items()
        for field in _FIELDS
    }
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, "transfer_set.npz")
        np.savez(local, **arrays)
        files.put_file(job.transfer_set, local, scratch)
    if FileSystems.exists(job.failure):
        FileSystems.delete([job.failure])
    return job


def run_pipeline(
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
        with watching_workers(lambda: _note_death(job), _WORKER_DIED):
            pipeline.run().wait_until_finish()
    except Exception as error:
        # Runners wrap what a worker raised in their own errors and tracebacks.
        _raise_failure(job, error)
        raise
    _raise_failure(job, None)


def _note_death(job: Job) -> None:
    if not FileSystems.exists(job.failure):
        files.put(job.failure, _WORKER_DIED.encode(), job.scratch)


def _raise_failure(job: Job, cause: Exception | None) -> None:
    if not FileSystems.exists(job.failure):
        return
    message = files.get(job.failure).decode()
    if message == _WORKER_DIED:
        message += f" (log of the workers: {files.join(job.output, WORKER_LOG)})"
        raise RuntimeError(message) from cause
    raise UserError(message) from cause
