"""The Beam pipeline of a text's signal: shards to score go in, shards on disk out."""

import json
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from keras import ops

from kerasdistill.errors import WorkersLostError
from kerasdistill.models import language, loading
from kerasdistill.reading_files import open_file
from kerasdistill.training import engines
from kerasdistill.training.language_models import answers
from pipelines.beam import files
from pipelines.beam.files import FileSystems
from pipelines.beam.runners import WORKER_DIED, make_runner, pipeline_options, score
from pipelines.beam.shards import SCRATCH
from pipelines.beam.workers import Worker
from pipelines.stored.layout import sidecar_name
from pipelines.words import text, text_signal


@dataclass(frozen=True)
class TextJob:
    """What every worker has to know."""

    output: str
    teachers: tuple[str, ...]
    windows: str  # an .npz of the text's
    request: text_signal.Request

    @property
    def scratch(self) -> str:
        """Folder of unfinished files, inside the signal."""
        return files.join(self.output, SCRATCH)


class Teachers:
    """The `top_k` largest of the mean probabilities of language models."""

    def __init__(self, models: Sequence, top_k: int):
        self._models = models
        self._top_k = top_k
        self._step = engines.current().compiled(self._answer, models)

    def answers(self, ids: np.ndarray):
        """Yields (ids int32, log-probabilities float32), [streams, T, K] each, for
        every window of ids int32 [windows, streams, T]."""
        states = [language.start(model, ids.shape[1]) for model in self._models]
        for window in ids:
            (values, words), states = self._step(window, states)
            yield np.asarray(words, np.int32), np.asarray(values)

    def _answer(self, ids, states):
        predictions, after = answers(self._models, ids, states)
        return ops.top_k(predictions, self._top_k), after


class ScoreStreams(Worker):
    """A shard's number -> its file and sidecar on disk -> its number."""

    def _load(self) -> Teachers:
        models = [loading.load(path) for path in self._job.teachers]
        return Teachers(models, self._job.request.top_k)

    def process(self, number: int) -> list[int]:
        """Writes one shard, unless it is there."""
        job = self._job
        name = job.request.shards[number]
        sidecar = files.join(job.output, sidecar_name(name))
        if FileSystems.exists(sidecar):
            return [number]
        rows, covered = job.request.rows(number), 0.0
        with open_file(job.windows, "npz") as file, np.load(file) as arrays:
            ids, weights = (arrays[each][:, rows] for each in ("ids", "weights"))
        with tempfile.TemporaryDirectory() as folder:
            local = os.path.join(folder, name)
            with tf.io.TFRecordWriter(local) as writer:
                for window, (words, values) in enumerate(self._tools.answers(ids)):
                    kept = np.minimum(values, 0).astype(np.float16)
                    words = words.astype(job.request.ids_dtype)
                    writer.write(text_signal.encode(window, words, kept))
                    mass = np.exp(kept.astype(np.float32)).sum(axis=-1)
                    covered += float(np.sum(mass * weights[window]))
            path = files.join(job.output, name)
            size, digest = files.put_file(path, local, job.scratch)
        facts = {"name": name, "bytes": size, "sha256": digest, "covered": covered}
        facts["words"] = int(np.count_nonzero(weights))
        files.put_json(sidecar, facts, job.scratch)
        return [number]


def make(
    job: TextJob,
    cut: text.Windows,
    *,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
) -> None:
    """Scores the shards that are missing and publishes the manifest.

    `workers` are processes of Beam's in-process runner (None: one per core),
    `beam_options` Beam's own. WorkersLostError if one died: finished shards are kept.
    """
    sidecars = [files.join(job.output, sidecar_name(n)) for n in job.request.shards]
    todo = [i for i, path in enumerate(sidecars) if not FileSystems.exists(path)]
    if todo:
        os.makedirs(job.scratch, exist_ok=True)
        np.savez(job.windows, **vars(cut))
        _run(job, todo, workers, beam_options)
    shards = [json.loads(files.get(path)) for path in sidecars]
    text_signal.publish(job.output, job.request, shards)
    if FileSystems.exists(job.scratch):
        files.delete([job.scratch])


def _run(
    job: TextJob, todo: list[int], workers: int | None, beam_options: Sequence[str]
) -> None:
    options = pipeline_options(beam_options)
    log = files.join(job.scratch, "workers.log")
    runner = make_runner(options, beam_options, workers, log=log)
    died = threading.Event()
    try:
        how = {"scratch": job.scratch, "on_death": died.set}
        score(todo, ScoreStreams(job), options, runner, **how)
    except Exception as error:
        if died.is_set():
            raise WorkersLostError(WORKER_DIED) from error
        raise
