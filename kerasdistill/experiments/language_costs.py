"""What training a language model costs here: a few real steps, the rest arithmetic."""

import time
from collections.abc import Callable
from dataclasses import replace

import keras

from kerasdistill.experiments import costs
from kerasdistill.experiments.plans import Step
from kerasdistill.recipes import base
from kerasdistill.recipes.describing import describe
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.perplexity import Scorer
from pipelines import text

# Weights in the last checkpoint, twice while it is replaced, the best weights, the
# model and its SavedModel: five float32 numbers.
BYTES_PER_PARAM = 20
_TIMED_SECONDS = 1.5
_ENDLESS = 1 << 30


def plan(
    name: str,
    make: Callable[[], LanguageModel],
    recipe: base.LanguageModelRecipe,
    *,
    stream: EpochStream,
    validation: text.Windows,
    num_scored: int,
    run: RunDirectory | None,
) -> Step:
    """The step of a training, or of what is left of it.

    Args:
        name: what people call it.
        make: a new shell; it is trained for a moment and thrown away.
        recipe: its epochs count.
        stream: the training windows.
        validation: scored after every epoch.
        num_scored: windows that are scored once, at the end.
        run: its checkpoints say what is left (None: it has not begun).
    """
    shell = make()
    shell.compile(optimizer=keras.optimizers.SGD(1e-9))
    watch = costs.Stopwatch(_TIMED_SECONDS)
    watch.time(shell.fit, stream.batches(0), steps_per_epoch=_ENDLESS, shuffle=False)
    trained = time.monotonic()
    scorer = Scorer([shell.student])
    scorer.nats(_first(validation, 1))
    traced = time.monotonic()
    count = min(len(validation), 20)
    scorer.nats(_first(validation, count))
    a_window = (time.monotonic() - traced) / count
    startup = watch.startup_seconds + (traced - trained)
    epochs = costs.epochs_left(recipe, run)
    an_epoch = stream.steps_per_epoch * watch.seconds_per_step
    an_epoch += len(validation) * a_window
    rate = stream.examples_per_epoch / (stream.steps_per_epoch * watch.seconds_per_step)
    stored = costs.stored_bytes(run)
    left = f"{epochs} epoch{'s' * (epochs != 1)}"
    return Step(
        name=name,
        seconds=epochs * an_epoch + num_scored * a_window + 2.5 * startup,
        num_bytes=max(0, BYTES_PER_PARAM * shell.student.count_params() - stored),
        how=f"{describe(recipe.architecture)}, {left}, {rate:,.0f} words/s, "
        f"{recipe.training.precision}",
    )


def _first(windows: text.Windows, count: int) -> text.Windows:
    arrays = ("ids", "targets", "weights")
    return replace(windows, **{name: getattr(windows, name)[:count] for name in arrays})
