"""What the generations that are left will cost, said before the first begins."""

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasdistill import devices
from kerasdistill.experiments import costs, generations, plans, precompute, teaching
from kerasdistill.experiments.shells import built
from kerasdistill.experiments.teaching import Signal, Teacher
from kerasdistill.files import require_space
from kerasdistill.models import fast_layers, loading
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from pipelines.datasets import ImageData
from pipelines.layout import Layout
from pipelines.remaining import missing_work


@dataclasses.dataclass(frozen=True)
class Chain:
    """As many students of one recipe, after generation 0 or the one that is given."""

    recipe: base.BornAgainRecipe
    count: int
    signal: Signal
    given: Teacher | None


@dataclasses.dataclass(frozen=True)
class Left:
    """A generation that is not finished; `run` and `taught_by`, its teacher's file,
    are known if the one before is."""

    number: int
    recipe: base.BornAgainRecipe
    run: RunDirectory | None
    taught_by: str | None


def name_of(number: int) -> str:
    """What a generation's step is called."""
    return f"generation {number}"


def announced(chain: Chain, *, data: ImageData, workdir: str | Path) -> plans.Plan:
    """Says on stderr what is left and costs; nothing finished is measured.

    Generations that do alike are measured once: those that learn from their own kind
    have an untrained teacher for it.

    Raises:
        UserError: less free space than that needs.
    """
    require_space(workdir, 0)  # before anything is measured
    devices.allow_gpu_growth()  # its memory is for the workers too
    steps = []
    with tempfile.TemporaryDirectory() as scratch:
        meter = _Meter(chain, data, Path(scratch))
        for each in left(chain, data=data, workdir=workdir):
            if each.number and chain.signal.kind == "stored":
                steps += meter.labelling(each, workdir)
            steps.append(meter.training(each))
    return plans.announce(plans.Plan(tuple(steps)), workdir=workdir)


def left(chain: Chain, *, data: ImageData, workdir: str | Path) -> list[Left]:
    """The generations that are not finished, in order; nothing is measured."""
    where = {"signal": chain.signal, "data": data, "workdir": workdir}
    given, found = chain.given, []
    digest, path = (given.digest, given.path) if given else (None, None)
    for number in range(1 if given else 0, chain.count + 1):
        recipe, run = generations.recipe_of(chain.recipe, number), None
        if number == 0 or digest:
            run = generations.run_directory(recipe, taught_by=digest, **where)
            if (results := run.results()) is not None:
                digest, path = results["weights_digest"], results["model"]
                continue
        found.append(Left(number, recipe, run, path))
        digest = path = None
    return found


class _Meter:
    """Measures each kind of work once."""

    def __init__(self, chain: Chain, data: ImageData, scratch: Path):
        self._chain = chain
        self._data = data
        self._scratch = scratch
        self._speeds: dict[str, costs.Speed] = {}
        self._sets: dict[tuple[str, int], plans.Step] = {}

    def training(self, left: Left) -> plans.Step:
        """What is left of the generation's training."""
        teacher = self._teacher(left.number)
        key = teacher.path if teacher else "labels"
        if key not in self._speeds:
            self._speeds[key] = costs.measure(
                left.recipe, data=self._data, **self._steps(left, teacher)
            )
        return costs.training_step(
            name_of(left.number),
            left.recipe,
            speed=self._speeds[key],
            data=self._data,
            epochs=costs.epochs_left(left.recipe, left.run),
            stored_bytes=costs.stored_bytes(left.run),
        )

    def labelling(self, left: Left, workdir: str | Path) -> list[plans.Step]:
        """What is left of the generation's distillation set: no step, or one."""
        data, signal = self._data, self._chain.signal
        of_set, passes = signal.of_set(left.recipe), signal.passes_of(left.recipe)
        folder = None
        if left.taught_by and Path(left.taught_by).is_file():
            where = {"data": data, "workdir": workdir, "signal": of_set}
            folder = precompute.run_directory([left.taught_by], **where).path
            folder = folder / precompute.FOLDER
        layout = Layout(len(data.train), len(data.validation), passes, of_set.seed)
        missing, num_bytes = missing_work(folder, layout, data=data, store=signal.store)
        if not missing:
            return []
        teacher = self._teacher(left.number).path
        key = teacher, sum(missing)
        if key not in self._sets:
            about = {"data": data, "signal": of_set, "num_bytes": num_bytes}
            self._sets[key] = precompute.plan([teacher], missing, **about)
        name = generations.set_name(name_of(left.number))
        return [dataclasses.replace(self._sets[key], name=name)]

    def _teacher(self, number: int) -> Teacher | None:
        """Somebody as fast as the generation's teacher; None for generation 0."""
        if number == 0:
            return None
        return self._chain.given if number == 1 and self._chain.given else self._own

    @functools.cached_property
    def _own(self) -> Teacher:
        path = self._scratch / "own.keras"
        given = self._chain.given
        shared = given and given.model
        untrained = built(self._chain.recipe, self._data, teacher=shared).student
        fast_layers.stock(untrained).save(path)
        with devices.scope():
            return Teacher(str(path), fast_layers.hasten(loading.load(path)), digest="")

    def _steps(self, left: Left, teacher: Teacher | None) -> dict[str, Any]:
        """A teacher to measure with, and batches that cost what the real ones will."""
        stream = teaching.live_stream(left.recipe, self._data)
        given = self._chain.given
        shared = {"teacher": given and given.model}
        if teacher is None:
            return {"stream": stream, **shared}
        if self._chain.signal.kind == "live":
            return {"stream": stream, "ask": teacher.ask, **shared}
        classes = self._data.num_classes

        def answered(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            shape = [tf.shape(batch["image"])[0], classes]
            return {**batch, "teacher_logits": tf.zeros(shape)}

        stored = dataclasses.replace(
            stream, batches=lambda epoch: stream.batches(epoch).map(answered)
        )
        return {"stream": stored, **shared}
