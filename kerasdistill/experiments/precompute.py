"""The stored signal: teachers label augmented passes once, for every student."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import opening, plans
from kerasdistill.files import sha256_file
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory, read_json
from pipelines import augment, integrity, precompute
from pipelines.beam import probe
from pipelines.beam.progress import print_progress
from pipelines.datasets import ImageData
from pipelines.manifest import Manifest

FOLDER = "distillation_set"  # inside the run's
STEP = "distillation set"  # its name in a plan
_ELSEWHERE = (
    "{0} is not inside the run folder that made it; to extend a set that was written "
    "elsewhere repeat its precompute command, --output {0} included, with more --passes"
)


@dataclass(frozen=True)
class Signal:
    """What is stored of the views and of the teachers' answers.

    `store` is "images" or "replay"; `keep_members` keeps each teacher's logits
    beside their mean; `logits_dtype` is "float32" or "float16".
    """

    store: str = "images"
    keep_members: bool = False
    logits_dtype: str = "float32"
    augmentation: base.Augmentation | base.CropAugmentation = base.Augmentation()
    seed: int = 0


def run_directory(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    signal: Signal,
) -> RunDirectory:
    """Where the set of these teachers goes, or went.

    The number of passes is no part of the request's identity: asking for more of
    them extends the same set.
    """
    check_files(teacher_paths)
    request = {
        "teachers": [sha256_file(path) for path in teacher_paths],
        "dataset": data.identity(),
        **base.fields(signal),
    }
    return RunDirectory.open(workdir, "precompute", request)


def check_files(teacher_paths: Sequence[str | Path]) -> None:
    """UserError for a teacher that is not there."""
    for path in teacher_paths:
        if not Path(path).is_file():
            raise UserError(f"teacher {path} does not exist; pass a .keras file")


def run(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    passes: int,
    signal: Signal | None = None,
    output: str | None = None,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    force: bool = False,
    command: str | None = None,
    planned: plans.Step | None = None,
) -> dict[str, Any]:
    """Makes, finishes or extends the distillation set of these teachers.

    Args:
        teacher_paths: `.keras` files.
        data: the transfer set and its validation images.
        workdir: where the run folder goes.
        passes: augmented sweeps.
        signal: what is stored.
        output: where the set goes instead of the run folder: a path, or a URL that
            Beam's FileSystems can write.
        workers: processes of the in-process runner.
        beam_options: Beam's own.
        force: accept a card-less teacher that disagrees with the labels.
        command: what finishes the set, for errors.
        planned: what somebody has announced already (None: it is done here).

    Returns:
        The fields of the Beam job's result, as `results.json` keeps them, with what
        the last process that scored anything had planned for that, and took.
    """
    signal = signal or Signal()
    folder = run_directory(teacher_paths, data=data, workdir=workdir, signal=signal)
    with folder:
        return _run_in(
            folder,
            teacher_paths,
            data=data,
            passes=passes,
            signal=signal,
            output=output or str(folder.path / FOLDER),
            workers=workers,
            beam_options=beam_options,
            force=force,
            command=command,
            planned=planned,
        )


def extend(
    path: str | Path,
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    passes: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Adds passes or members to a finished set; nothing that is there is redone.

    Args:
        path: a `distillation_set` inside the run folder that made it.
        teacher_paths: with more passes, every teacher of the set; new ones join it if
            it keeps members.
        data: what the set was made from.
        passes: how many it is to have (None: as many as it has).
        options: workers, beam_options, force and command, as for `run`.

    Returns:
        As `run`.
    """
    check_files(teacher_paths)
    if opening.is_url(path):
        raise UserError(_ELSEWHERE.format(path))
    path = Path(path)
    manifest = integrity.read_manifest(path)
    recipe = path.parent / "recipe.json"
    if path.name != FOLDER or not recipe.is_file():
        raise UserError(_ELSEWHERE.format(path))
    passes = manifest.passes if passes is None else passes
    if passes < manifest.passes:
        raise UserError(
            f"{path} has {manifest.passes} passes already; ask for more, or read fewer "
            "with student --passes"
        )
    with RunDirectory(path.parent, read_json(recipe)) as folder:
        return _run_in(
            folder,
            teacher_paths,
            data=data,
            passes=passes,
            signal=_signal_of(manifest),
            output=str(path),
            **options,
        )


def _signal_of(manifest: Manifest) -> Signal:
    return Signal(
        store=manifest.store,
        keep_members=manifest.keep_members,
        logits_dtype=manifest.logits_dtype,
        augmentation=augment.from_json(manifest.augmentation),
        seed=manifest.seed,
    )


def plan(
    teacher_paths: Sequence[str | Path],
    shard_views: Sequence[int],
    *,
    data: ImageData,
    signal: Signal,
    num_bytes: int,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
) -> plans.Step:
    """What scoring these shards costs; measured by worker processes, in seconds.

    Args:
        teacher_paths: `.keras` files.
        shard_views: views of every shard that is missing.
        data: its images' shape counts.
        signal: its augmentation counts.
        num_bytes: what the shards will take.
        workers: processes of the in-process runner.
        beam_options: Beam's own; a job that runs elsewhere has no known time.
    """
    count = probe.count_workers(beam_options, workers)
    views = f"{sum(shard_views):,} views in {len(shard_views)} shards"
    speed = None
    if count is not None:
        speed = probe.measure(
            [str(path) for path in teacher_paths],
            image_shape=data.image_shape,
            augmentation=signal.augmentation,
            workers=count,
        )
    if speed is None:
        return plans.Step(STEP, None, num_bytes, how=views)
    seconds = probe.expected_seconds(shard_views, workers=count, speed=speed)
    rate = max(1, count) * speed.views_per_second
    of = f"{count} worker{'s' * (count != 1)}" if count else "this process"
    how = f"{views}, {rate:.0f} views/s in {of}"
    return plans.Step(STEP, seconds, num_bytes, how=how)


def _run_in(
    folder: RunDirectory,
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    passes: int,
    signal: Signal,
    output: str,
    planned: plans.Step | None = None,
    **options: Any,
) -> dict[str, Any]:
    begun: list[tuple[plans.Step, float]] = []

    def before(shard_views: list[int], num_bytes: int) -> None:
        step = planned
        if step is None:
            how = {key: options[key] for key in ("workers", "beam_options")}
            sizes = {"num_bytes": num_bytes, "data": data, "signal": signal}
            step = plan(teacher_paths, shard_views, **sizes, **how)
            plans.announce(plans.Plan((step,)), workdir=folder.path)
        begun.append((step, time.monotonic()))

    made = precompute.run(
        teacher_paths=[str(path) for path in teacher_paths],
        data=data,
        passes=passes,
        output=output,
        progress=print_progress,
        before=before,
        **vars(signal),
        **options,
    )
    found = folder.results() or {}
    results = {"kind": "precompute", **base.fields(made)}
    results["distillation_set"] = output
    # Where verify finds them again.
    known = found.get("teachers", [])
    results["teachers"] = [*dict.fromkeys([*known, *map(str, teacher_paths)])]
    for step, since in begun:
        results |= plans.tell(step, since=since)
    if not made.shards_done:
        # Nothing was scored this time: what was measured when it was stays.
        kept = ("views_per_second", "planned_seconds", "process_seconds")
        results |= {name: found[name] for name in kept if name in found}
    return folder.finish(results)
