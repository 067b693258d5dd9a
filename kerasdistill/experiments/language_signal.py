"""A teacher's stored signal for a text: found, finished or made."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kerasdistill.experiments import plans
from kerasdistill.experiments.language_teachers import Known
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from pipelines import text, text_signal
from pipelines.beam import text_job

TOP_K = 64
STEP = "stored signal"
_FOLDER = "signal"
_START_SECONDS = 15.0  # of worker processes, which load TensorFlow first
_TIMED = 10  # windows that are scored to tell how long all will take


def prepare(
    teachers: Sequence[Known],
    recipe: base.LanguageModelRecipe,
    *,
    data: text.TextData,
    workdir: str | Path,
    top_k: int = TOP_K,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
) -> text_signal.Signal:
    """The signal that a student of `recipe` reads instead of asking the teachers.

    Its size and time are announced first; shards that are there are kept.

    Args:
        teachers: whose probabilities are averaged.
        recipe: its streams and window count.
        data: the text.
        workdir: where the run folder goes.
        top_k: words kept a step.
        workers: processes of Beam's in-process runner.
        beam_options: Beam's own.
    """
    streams, window = recipe.training.batch_size, recipe.training.window
    cut = text.windows(data.train, end=data.end, streams=streams, length=window)
    request = text_signal.Request(
        dataset=data.identity(),
        teachers=tuple(each.digest for each in teachers),
        streams=streams,
        window=window,
        windows=len(cut),
        top_k=top_k,
    )
    with RunDirectory.open(workdir, "text-signal", base.fields(request)) as folder:
        path = folder.path / _FOLDER
        if folder.results() is None:
            step = _planned(teachers, request, cut)
            plans.announce(plans.Plan((step,)), workdir=folder.path)
            began = time.monotonic()
            job = text_job.TextJob(
                output=str(path.absolute()),
                teachers=tuple(str(Path(each.path).absolute()) for each in teachers),
                windows=str((path / text_job.SCRATCH / "windows.npz").absolute()),
                request=request,
            )
            text_job.make(job, cut, workers=workers, beam_options=beam_options)
            made = _read(path, data, recipe)
            kept = made.manifest["covered_probability"]
            _tell_kept(top_k, kept)
            folder.finish(
                {
                    "kind": "text-signal",
                    "distillation_set": str(path),
                    "bytes": sum(each["bytes"] for each in made.manifest["shards"]),
                    "covered_probability": kept,
                    **plans.tell(step, since=began),
                }
            )
            return made
    return _read(path, data, recipe)


def given(
    path: str | Path, recipe: base.LanguageModelRecipe, *, data: text.TextData
) -> text_signal.Signal:
    """The finished signal at `path`, checked against the text and the recipe."""
    return _read(path, data, recipe)


def _tell_kept(top_k: int, covered: float) -> None:
    """Says what share of the teacher's probability is in the signal."""
    print(
        f"the {top_k} likeliest words hold {covered:.1%} of the probability; the rest "
        "is learned as one sum",
        file=sys.stderr,
    )


def _read(path, data, recipe) -> text_signal.Signal:
    training = recipe.training
    return text_signal.read(
        path, data=data, streams=training.batch_size, window=training.window
    )


def _planned(
    teachers: Sequence[Known], request: text_signal.Request, cut: text.Windows
) -> plans.Step:
    answers = text_job.Teachers([each.model for each in teachers], request.top_k)
    rows = request.rows(0)
    for _ in answers.answers(cut.ids[:1, rows]):
        pass
    began = time.monotonic()
    count = sum(1 for _ in answers.answers(cut.ids[:_TIMED, rows]))
    a_window = (time.monotonic() - began) / count
    size = f"{request.top_k} of {request.dataset['num_words']:,} words a step"
    full = request.num_bytes // request.top_k // (request.ids_dtype.itemsize + 2)
    full *= 4 * request.dataset["num_words"]
    return plans.Step(
        name=STEP,
        seconds=_START_SECONDS + a_window * request.windows * len(request.shards),
        num_bytes=request.num_bytes,
        how=f"{size}; all logits would be {plans.size(full)}",
    )
