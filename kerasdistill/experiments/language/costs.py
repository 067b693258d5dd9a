"""What training a language model costs here: a few real steps, the rest arithmetic."""

import time

import keras

from kerasdistill.recipes import base
from kerasdistill.recipes.describing import describe
from kerasdistill.running import timing
from kerasdistill.running.steps import Cost
from kerasdistill.runs import RunDirectory
from kerasdistill.training import engines
from kerasdistill.training.epochs import EpochStream
from kerasdistill.training.language_models import LanguageModel
from kerasdistill.training.perplexity import Scorer
from pipelines.words import text

# Weights in the last checkpoint, twice while it is replaced, the best weights, the
# model and its SavedModel: five float32 numbers.
BYTES_PER_PARAM = 20


def training_cost(
    recipe: base.LanguageModelRecipe,
    *,
    shell: LanguageModel,
    stream: EpochStream,
    data: text.TextData,
    run: RunDirectory | None,
) -> Cost:
    """What is left of a training by the checkpoints in `run` (None: not begun).

    Trains `shell` for a moment, so it is of no use afterwards.
    """
    engines.current().compile(shell, lambda: keras.optimizers.SGD(1e-9))
    timed = timing.timed(shell, stream)
    window, scorer = recipe.training.window, Scorer([shell.student])

    def scoring_seconds(count: int) -> float:
        tokens = data.validation[: count * window]
        began = time.monotonic()
        scorer.nats(text.windows(tokens, end=data.end, streams=1, length=window))
        return time.monotonic() - began

    startup = timed.startup_seconds + scoring_seconds(1)
    num_windows = -(-len(data.validation) // window)
    count = min(num_windows, 20)
    a_window = scoring_seconds(count) / count
    epochs = timing.epochs_left(recipe, run)
    steps_seconds = stream.steps_per_epoch * timed.seconds_per_step
    an_epoch = steps_seconds + num_windows * a_window
    at_the_end = (num_windows + len(data.test) // window) * a_window
    rate = stream.examples_per_epoch / steps_seconds
    written = BYTES_PER_PARAM * shell.student.count_params() - timing.stored_bytes(run)
    network = f"{describe(recipe.architecture)}, {epochs} epoch{'s' * (epochs != 1)}"
    return Cost(
        seconds=epochs * an_epoch + at_the_end + 2.5 * startup,
        num_bytes=max(0, written),
        how=f"{network}, {rate:,.0f} words/s, {recipe.training.precision}",
    )
