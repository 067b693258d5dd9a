"""The step in which teachers label augmented passes: what is left, and the work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kerasdistill import requests
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import base
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from pipelines import precompute, scoring
from pipelines.beam import probe
from pipelines.beam.progress import print_progress
from pipelines.datasets import ImageData
from pipelines.stored.layout import Layout
from pipelines.stored.remaining import missing_work

FOLDER = "distillation_set"  # inside the run's
STEP = "distillation set"  # its name in a plan


@dataclass(frozen=True)
class Signal:
    """What is stored of the views and of the teachers' answers.

    `store` is "images" or "replay"; `keep_members` keeps each teacher's logits
    beside their mean; `logits_dtype` is "float32" or "float16"; `targets` are what is
    kept beside the logits, names in `targets.TARGETS`.
    """

    store: str = "images"
    keep_members: bool = False
    logits_dtype: str = "float32"
    augmentation: base.Augmentation | base.CropAugmentation = base.Augmentation()
    seed: int = 0
    targets: tuple[str, ...] = field(default=(), metadata=requests.LATER)


def step(
    place: Callable[[Results], RunDirectory],
    paths: Callable[[Results], list[str]],
    *,
    data: ImageData,
    passes: int,
    signal: Signal,
    output: str | None,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    force: bool = False,
    command: str | None = None,
    measure: Callable[..., probe.WorkerSpeed | None] | None = None,
) -> Step:
    """The step that makes, finishes or extends a set.

    Args:
        place: of the results of the steps before, the run folder, and
        paths: the teachers' `.keras` files.
        data: as for `precompute.step`, like the options that follow.
    """
    layout = Layout(len(data.train), len(data.validation), passes, signal.seed)
    where = {"workers": workers, "beam_options": beam_options}

    def folder(run: RunDirectory | None) -> str | None:
        return output or (run and str(run.path / FOLDER))

    def missing(run: RunDirectory | None, teachers: Sequence[str]) -> tuple:
        kept = teachers if signal.keep_members else ()
        digests = [weights_digest(loading.load(path)) for path in kept]
        return missing_work(
            folder(run), layout, data=data, store=signal.store, kept_digests=digests
        )

    def finished(run: RunDirectory) -> dict[str, Any] | None:
        # Joining teachers are looked at by the work itself.
        views, _ = missing_work(folder(run), layout, data=data, store=signal.store)
        return None if views or signal.keep_members else run.results()

    def cost(run: RunDirectory | None, before: Results) -> Cost | None:
        teachers = paths(before)
        if run is not None:  # else some of them stand in for what is not trained yet
            for path in teachers:
                model = loading.load(path)
                scoring.check_teacher(model, path, data=data, force=force)
        views, num_bytes = missing(run, teachers)
        if not views:
            return None
        how = {"data": data, "signal": signal, "measure": measure, **where}
        return _cost(teachers, views, num_bytes, **how)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        teachers, target = paths(before), folder(run)
        made = precompute.run(
            teacher_paths=teachers,
            data=data,
            passes=passes,
            output=target,
            progress=print_progress,
            force=force,
            command=command,
            **vars(signal),
            **where,
        )
        return _results(made, run.results() or {}, target, teachers)

    return Step(STEP, place, work, cost, finished=finished, checks=True)


def _results(
    made: precompute.PrecomputeResult,
    earlier: dict[str, Any],
    target: str,
    teachers: Sequence[str],
) -> dict[str, Any]:
    results = {"kind": "precompute", **base.fields(made), "distillation_set": target}
    # Where verify finds them again.
    every = [*earlier.get("teachers", []), *teachers]
    results["teachers"] = [*dict.fromkeys(every)]
    if not made.shards_done:
        # Nothing was scored this time: what was measured when it was stays.
        kept = ("views_per_second", "planned_seconds", "process_seconds")
        results |= {name: earlier[name] for name in kept if name in earlier}
    return results


def _cost(
    teacher_paths: Sequence[str],
    shard_views: Sequence[int],
    num_bytes: int,
    *,
    data: ImageData,
    signal: Signal,
    measure: Callable[..., probe.WorkerSpeed | None] | None,
    workers: int | None,
    beam_options: Sequence[str],
) -> Cost:
    """What scoring these shards costs; measured by worker processes, in seconds.

    A job that runs elsewhere has no known time.
    """
    count = probe.count_workers(beam_options, workers)
    views = f"{sum(shard_views):,} views in {len(shard_views)} shards"
    speed = None
    if count is not None:
        speed = (measure or probe.measure)(
            teacher_paths,
            image_shape=data.image_shape,
            augmentation=signal.augmentation,
            workers=count,
        )
    if speed is None:
        return Cost(None, num_bytes, how=views)
    seconds = probe.expected_seconds(shard_views, workers=count, speed=speed)
    rate = max(1, count) * speed.views_per_second
    of = f"{count} worker{'s' * (count != 1)}" if count else "this process"
    return Cost(seconds, num_bytes, how=f"{views}, {rate:.0f} views/s in {of}")
