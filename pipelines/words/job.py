"""The Beam pipeline of a text's signal: shards to score go in, shards on disk out."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.utils.shared import Shared

from kerasdistill.errors import WorkersLostError
from kerasdistill.models import language, loading
from kerasdistill.training.language_models import answers
from pipelines.beam import files
from pipelines.beam.runners import (
    make_runner,
    pipeline_options,
    quieten,
    watching_workers,
)
from pipelines.beam.workers import Process, prepare_process
from pipelines.stored.layout import sidecar_name
from pipelines.words import text, text_signal

SCRATCH = ".work"
_WORKER_DIED = (
    "a worker process ended unexpectedly (killed, or out of memory?); finished shards "
    "are kept: run the same command again"
)


@dataclass(frozen=True)
class TextJob:
    """What every worker is told."""

    output: str
    teachers: tuple[str, ...]
    windows: str  # an .npz of the text's
    request: text_signal.Request

    @property
    def scratch(self) -> str:
        """Folder of unfinished files, inside the signal."""
        return files.join(self.output, SCRATCH)


class Teachers:
    """The K largest of the mean probabilities of some language models.

    Args:
        models: see `models.lstm`.
        top_k: K.
    """

    def __init__(self, models: Sequence, top_k: int):
        self._models = models
        self._top_k = top_k
        self._step = tf.function(self._answer)

    def answers(self, ids: np.ndarray):
        """Yields (ids int32, log-probabilities float32), [streams, T, K] each.

        Args:
            ids: the text's windows in order, int32 [windows, streams, T].
        """
        states = [language.start(model, ids.shape[1]) for model in self._models]
        for window in ids:
            (values, words), states = self._step(tf.constant(window), states)
            yield words.numpy(), values.numpy()

    def _answer(self, ids, states):
        found, after = answers(self._models, ids, states)
        return tf.math.top_k(found, self._top_k), after


class ScoreStreams(beam.DoFn):
    """A shard's number -> its file and sidecar on disk -> its number."""

    def __init__(self, job: TextJob) -> None:
        self._job = job
        self._asked_by = Process.this()
        self._shared = Shared()

    def setup(self) -> None:
        """Takes what this process has loaded, or loads it."""
        self._tools = self._shared.acquire(self._load)

    def _load(self) -> Any:
        prepare_process(self._asked_by)
        with np.load(self._job.windows) as arrays:
            cut = text.Windows(**arrays)
        models = [loading.load(path) for path in self._job.teachers]
        return _Loaded(cut, Teachers(models, self._job.request.top_k))

    def process(self, number: int) -> list[int]:
        """Writes one shard, unless it is there."""
        job, loaded = self._job, self._tools
        name = job.request.shards[number]
        sidecar = files.join(job.output, sidecar_name(name))
        if FileSystems.exists(sidecar):
            return [number]
        rows, covered = job.request.rows(number), 0.0
        weights = loaded.cut.weights[:, rows]
        with tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, name)
            with tf.io.TFRecordWriter(local) as writer:
                answers = loaded.teachers.answers(loaded.cut.ids[:, rows])
                for window, (ids, values) in enumerate(answers):
                    kept = np.minimum(values, 0).astype(np.float16)
                    ids = ids.astype(job.request.ids_dtype)
                    writer.write(text_signal.encode(window, ids, kept))
                    mass = np.exp(kept.astype(np.float32)).sum(axis=-1)
                    covered += float(np.sum(mass * weights[window]))
            size, digest = files.put_file(
                files.join(job.output, name), local, job.scratch
            )
        facts = {"name": name, "bytes": size, "sha256": digest, "covered": covered}
        facts["words"] = int(np.count_nonzero(weights))
        files.put_json(sidecar, facts, job.scratch)
        return [number]


@dataclass(frozen=True, eq=False)
class _Loaded:
    cut: text.Windows
    teachers: Teachers


def make(
    job: TextJob,
    cut: text.Windows,
    *,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
) -> None:
    """Scores the shards that are missing and publishes the manifest.

    Args:
        job: what is to be made, and where.
        cut: the text's windows.
        workers: processes of Beam's in-process runner (None: one per core).
        beam_options: Beam's own.

    Raises:
        WorkersLostError: a worker process died; finished shards are kept.
    """
    sidecars = [files.join(job.output, sidecar_name(n)) for n in job.request.shards]
    todo = [i for i, path in enumerate(sidecars) if not FileSystems.exists(path)]
    if todo:
        os.makedirs(job.scratch, exist_ok=True)
        np.savez(job.windows, **vars(cut))
        _run(job, todo, workers, beam_options)
    shards = [_facts(path) for path in sidecars]
    text_signal.publish(job.output, job.request, shards)
    if FileSystems.exists(job.scratch):
        FileSystems.delete([job.scratch])


def _facts(sidecar: str) -> dict[str, Any]:
    return json.loads(files.get(sidecar))


def _run(job: TextJob, todo: list[int], workers, beam_options) -> None:
    quieten()
    options = pipeline_options(beam_options)
    runner = make_runner(
        options, beam_options, workers, log=files.join(job.scratch, "workers.log")
    )
    died: list[bool] = []
    try:
        pipeline = beam.Pipeline(runner=runner, options=options)
        _ = (
            pipeline
            | "Shards" >> beam.Create(todo)
            | "Score" >> beam.ParDo(ScoreStreams(job))
        )
        with watching_workers(lambda: died.append(True), _WORKER_DIED):
            pipeline.run().wait_until_finish()
    except Exception as error:
        if died:
            raise WorkersLostError(_WORKER_DIED) from error
        raise
