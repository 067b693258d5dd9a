"""A teacher's stored signal for a text: the step that makes it, and reading it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kerasdistill.experiments.language.saved import Models
from kerasdistill.recipes import base
from kerasdistill.running.steps import Cost, Results, Step, size
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from kerasdistill.training.epochs import EpochStream
from pipelines.words import text, text_signal

TOP_K = 64
STEP = "stored signal"
_FOLDER = "signal"
_START_SECONDS = 15.0  # of worker processes, which load TensorFlow first
_TIMED = 10  # windows that are scored to tell how long all will take


@dataclass(frozen=True)
class MadeUp:
    """A made-up signal, to measure what training on the real one will cost."""

    top_k: int

    def stream(self, cut: text.Windows) -> EpochStream:
        """As `text_signal.Signal.stream`; every word's answer is the same."""
        plain = text.stream(cut)
        shape = (*cut.ids.shape[1:], self.top_k)
        answer = {
            "teacher_ids": tf.broadcast_to(tf.range(self.top_k), shape),
            "teacher_log_probabilities": tf.fill(shape, -20.0),
        }
        batches = plain.batches(0).map(lambda batch: {**batch, **answer})
        return replace(plain, batches=lambda first_epoch: batches)


def step(
    recipe: base.LanguageModelRecipe,
    *,
    data: text.TextData,
    workdir: str | Path,
    teachers: Models,
    top_k: int = TOP_K,
    name: str = STEP,
    beam_options: Sequence[str] = (),
) -> Step:
    """The step that stores what a student reads instead of asking its teachers.

    Their probabilities are averaged, cut as the student's `recipe` trains, and the
    `top_k` likeliest words of each step kept. Shards that are there stay.
    """
    cut = training_windows(recipe, data)

    def request(before: Results) -> text_signal.Request:
        return text_signal.Request(
            dataset=data.identity(),
            teachers=tuple(teachers.of(before, fact="weights_digest")),
            streams=recipe.training.batch_size,
            window=recipe.training.window,
            windows=len(cut),
            top_k=top_k,
        )

    def place(before: Results) -> RunDirectory:
        return RunDirectory.open(workdir, "text-signal", request(before))

    def finished(run: RunDirectory) -> dict[str, Any] | None:
        results = run.results()  # the workdir may have moved since
        return results and {**results, "distillation_set": str(run.path / _FOLDER)}

    def cost(run: RunDirectory | None, before: Results) -> Cost:
        return _cost(teachers.load(before, data=data), request(before), cut)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        from pipelines.words import job as text_job  # as below

        path = run.path / _FOLDER
        paths = teachers.of(before, fact="model")
        job = text_job.TextJob(
            output=str(path.absolute()),
            teachers=tuple(str(Path(each).absolute()) for each in paths),
            windows=str((path / text_job.SCRATCH / "windows.npz").absolute()),
            request=request(before),
        )
        text_job.make(job, cut, beam_options=beam_options)
        made = read(path, recipe, data=data).manifest
        say(
            f"the {top_k} likeliest words hold {made['covered_probability']:.1%} of "
            "the probability; the rest is learned as one sum"
        )
        return {
            "kind": "text-signal",
            "distillation_set": str(path),
            "bytes": sum(each["bytes"] for each in made["shards"]),
            "covered_probability": made["covered_probability"],
        }

    def stand_in(scratch: Path) -> dict[str, Any]:
        return {"made_up": MadeUp(top_k)}

    return Step(name, place, work, cost, teachers.trained, stand_in, finished)


def training_windows(
    recipe: base.LanguageModelRecipe, data: text.TextData
) -> text.Windows:
    """The training text, cut as the recipe trains on it."""
    streams, length = recipe.training.batch_size, recipe.training.window
    return text.windows(data.train, end=data.end, streams=streams, length=length)


def read(
    path: str | Path, recipe: base.LanguageModelRecipe, *, data: text.TextData
) -> text_signal.Signal:
    """The finished signal at `path`, checked against the text and the recipe."""
    how = {"streams": recipe.training.batch_size, "window": recipe.training.window}
    return text_signal.read(path, data=data, **how)


def _cost(
    teachers: Sequence[keras.Model], request: text_signal.Request, cut: text.Windows
) -> Cost:
    from pipelines.words import job as text_job  # reading one needs no Apache Beam

    scorer = text_job.Teachers(teachers, request.top_k)
    rows = request.rows(0)
    list(scorer.answers(cut.ids[:1, rows]))  # traces and compiles
    began = time.monotonic()
    count = sum(1 for _ in scorer.answers(cut.ids[:_TIMED, rows]))
    a_window = (time.monotonic() - began) / count
    kept = f"{request.top_k} of {request.dataset['num_words']:,} words a step"
    full = request.num_bytes // request.top_k // (request.ids_dtype.itemsize + 2)
    full *= 4 * request.dataset["num_words"]
    return Cost(
        seconds=_START_SECONDS + a_window * request.windows * len(request.shards),
        num_bytes=request.num_bytes,
        how=f"{kept}; all logits would be {size(full)}",
    )
