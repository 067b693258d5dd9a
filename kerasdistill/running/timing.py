"""What a training costs here: a few real steps are timed, the rest is arithmetic."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from kerasdistill.objectives import HardLabel
from kerasdistill.recipes import base
from kerasdistill.recipes.describing import describe
from kerasdistill.running.building import built
from kerasdistill.running.steps import Cost
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from kerasdistill.training import checkpoint, engines
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from pipelines.views import live_views

# The paper's schedule stops by itself; this many epochs are assumed for it. (It
# cannot stop before epoch 31.)
ASSUMED_EPOCHS = 100
# Weights and momentum in the last checkpoint, twice while it is replaced, the best
# weights, the model and its SavedModel: seven float32 numbers.
BYTES_PER_PARAM = 28

# Steps that pass before the clock starts: the first compiles, and while it does
# the pipeline fills its buffers, so the next ones come too fast.
_WARM_STEPS, _WARM_SECONDS = 8, 1.0
_TIMED_STEPS, _TRAINED_SECONDS = 2, 1.5
_AT_ONCE = 64  # steps, at most
_SCORED_BATCHES = 2
# What a training does once, exports included, against the start of what is measured.
_ONCE = 2.5
_SCORED = 500  # images of a batch in inference
_FEW = 16  # images of a batch where a network is measured small


@dataclass(frozen=True)
class Speed:
    """How fast one model trains and is scored here.

    `step_seconds` is for one training batch with the making of its views where that
    is not hidden, `scoring_rate` in images per second; `startup_seconds` is what
    tracing, compiling and the first steps of both take once.
    """

    step_seconds: float
    scoring_rate: float
    startup_seconds: float
    num_params: int


def measure(
    recipe: base.Recipe,
    *,
    stream: EpochStream,
    data: ImageData,
    ask: Callable | None = None,
    teacher: keras.Model | None = None,
    scored: int = _SCORED,
) -> Speed:
    """Times a copy of the model on the data it will see, for a few seconds.

    `ask` and `teacher` are those of `building.built`; inference has batches of
    `scored` images.
    """
    engines.current().allow_gpu_growth()  # its memory is for the workers too
    began = time.monotonic()
    wrapped = built(recipe, data, ask=ask, teacher=teacher)
    # So slow that the weights stay as they are: nothing can diverge.
    engines.current().compile(wrapped, lambda: keras.optimizers.SGD(1e-9, momentum=0.9))
    building = time.monotonic() - began
    logits = None
    if recipe.training.objective.learns_from_teacher:
        logits = np.zeros((len(data.validation), data.num_classes), np.float32)
    held_out = live_views.for_scoring(
        data.validation, teacher_logits=logits, batch_size=scored
    ).take(_SCORED_BATCHES)
    train = timed(wrapped, stream, validation=held_out)
    images = min(scored * _SCORED_BATCHES, len(data.validation))
    return Speed(
        step_seconds=train.seconds_per_step,
        scoring_rate=images / train.scoring_seconds,
        startup_seconds=building + train.startup_seconds,
        num_params=wrapped.student.count_params(),
    )


@dataclass(frozen=True)
class TaughtBy:
    """A teacher to measure with.

    `key` tells it from others; `load` gives the `ask` and `teacher` of
    `building.built`. A `live` one answers in every step; `recipe` is of its network
    (None: the student's).
    """

    key: str
    load: Callable[[], dict[str, Any]]
    live: bool
    recipe: base.Recipe | None = None


class Meter:
    """Measures each network, beside each of its teachers, once.

    With `small`, every network is measured by itself and on few images, which a
    machine can hold that is not the one that will train it: a step's time is taken as
    its images' times, and a live teacher's answers are added.
    """

    def __init__(self, *, small: bool = False):
        self.small = small
        self._speeds: dict[tuple[str, str], Speed] = {}

    def speed(
        self,
        recipe: base.Recipe,
        *,
        data: ImageData,
        stream: Callable[[base.Recipe], EpochStream],
        taught_by: TaughtBy | None = None,
    ) -> Speed:
        """How fast a recipe's network trains on `stream` of it, taught live or not."""
        if self.small:
            return self._from_small(recipe, data, stream, taught_by)
        key = (_unseeded(recipe), taught_by.key if taught_by else "")
        if key not in self._speeds:
            how = taught_by.load() if taught_by else {}
            how |= {"stream": stream(recipe), "data": data}
            self._speeds[key] = measure(recipe, **how)
        return self._speeds[key]

    def _from_small(self, recipe, data, stream, taught_by) -> Speed:
        size, speed = recipe.training.batch_size, self._alone(recipe, data, stream)
        seconds = size / _FEW * speed.step_seconds
        if taught_by is not None and taught_by.live:
            teacher = self._alone(taught_by.recipe or recipe, data, stream)
            seconds += size / teacher.scoring_rate
        return replace(speed, step_seconds=seconds)

    def _alone(self, recipe, data, stream) -> Speed:
        settings = {"objective": HardLabel(), "batch_size": _FEW}
        small = replace(recipe, training=replace(recipe.training, **settings))
        key = (json.dumps(base.to_json(small)["architecture"]), "")
        if key not in self._speeds:
            kind = type(recipe.architecture).__name__
            say(f"measuring {kind} …")
            how = {"stream": stream(small), "data": data, "scored": 2 * _FEW}
            self._speeds[key] = measure(small, **how)
        return self._speeds[key]


def _unseeded(recipe: base.Recipe) -> str:
    training = replace(recipe.training, seed=0)
    return json.dumps(base.to_json(replace(recipe, training=training)))


class Stopwatch:
    """Times a session's steps, after the first ones, for so many seconds."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self.startup_seconds = self.seconds_per_step = 0.0

    def time(self, train: Callable[[int], object]) -> None:
        """Lets `train` do so many steps, again and again, until enough are timed.

        `startup_seconds` is what the first step takes, which compiles.
        """
        began = self._clock()
        train(1)
        self.startup_seconds = self._clock() - began
        self._repeat(train, seconds=_WARM_SECONDS, steps=_WARM_STEPS, most=1)
        how = {"seconds": self._seconds, "steps": _TIMED_STEPS, "most": _AT_ONCE}
        self.seconds_per_step = self._repeat(train, **how)

    def _repeat(self, train, *, seconds: float, steps: int, most: int) -> float:
        """Seconds a step, of so many steps and for so many seconds at the least; the
        first ones of a warm-up need the one or the other."""
        done, size, began = 0, 1, self._clock()
        while True:
            train(size)
            done += size
            took = self._clock() - began
            enough = (done >= steps, took >= seconds)
            if any(enough) if most == 1 else all(enough):
                return took / done
            # Many at once, where they are short: engines join them.
            if took < seconds / 4:
                size = min(2 * size, most)


@dataclass(frozen=True)
class Timed:
    """What was timed of a shell; `scoring_seconds` is of the whole validation data."""

    seconds_per_step: float
    scoring_seconds: float
    startup_seconds: float


def timed(
    shell: keras.Model,
    stream: EpochStream,
    *,
    validation: Any = None,
    clock: Callable[[], float] = time.monotonic,
) -> Timed:
    """Trains a compiled shell for a moment, as its engine does, and scores twice."""
    session = engines.current().session(shell, stream, validation=validation)
    watch, seconds = Stopwatch(_TRAINED_SECONDS, clock=clock), [0.0, 0.0]
    try:
        watch.time(lambda count: session.train(range(count), lambda *_: None))
        if validation is not None:
            for turn in range(2):  # the first compiles
                began = clock()
                session.validate()
                seconds[turn] = clock() - began
    finally:
        session.close()
    first, scoring = seconds
    startup = watch.startup_seconds + max(0.0, first - scoring)
    return Timed(watch.seconds_per_step, scoring, startup)


def training_cost(
    recipe: base.Recipe, *, speed: Speed, data: ImageData, run: RunDirectory | None
) -> Cost:
    """What is left of a training, by the checkpoints in `run` (None: not begun)."""
    epochs = epochs_left(recipe, run)
    batches = -(-len(data.train) // recipe.training.batch_size)
    an_epoch = batches * speed.step_seconds + len(data.validation) / speed.scoring_rate
    scored = len(data.validation) + len(data.test)
    # Tracing, compiling, exporting and comparing what was exported.
    once = _ONCE * speed.startup_seconds + scored / speed.scoring_rate
    rate = len(data.train) / (batches * speed.step_seconds)
    left = f"{epochs} epoch{'s' * (epochs != 1)}"
    if not recipe.training.epochs:
        left = f"paper's stop, say {left} more"
    network = describe(recipe.architecture)
    written = BYTES_PER_PARAM * speed.num_params - stored_bytes(run)
    return Cost(
        seconds=epochs * an_epoch + once,
        num_bytes=max(0, written),
        how=f"{network}, {left}, {rate:.0f} images/s, {recipe.training.precision}",
    )


def epochs_left(recipe: base.Recipe, run: RunDirectory | None) -> int:
    """Epochs that an interrupted training still has to do, all if it never began."""
    training = recipe.training
    path = run and run.path / "checkpoints" / "last.npz"
    done, stopped = 0, False
    if path and path.exists():
        _, state = checkpoint.read(path)
        done, stopped = len(state["history"]), state["schedule"]["stop"]
    if stopped and training.schedule == "paper":
        return 0
    if training.epochs is None:
        return max(1, ASSUMED_EPOCHS - done)
    return max(0, training.epochs - done)


def stored_bytes(run: RunDirectory | None) -> int:
    """What the run's checkpoints take on disk."""
    paths = (run.path / "checkpoints").glob("*.npz") if run else ()
    return sum(path.stat().st_size for path in paths)
