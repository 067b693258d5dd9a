"""The offline job that scores views with a teacher and writes a distillation set.

The unit of work is a shard, its inner unit a block: a fixed list of sample ids of
one pass, scored in one batch of a fixed size by a process with one TensorFlow
thread, so no result depends on the number of workers, on shards or on restarts.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import UserError
from pipelines.beam import files, shards
from pipelines.beam.job import SCRATCH, WORKER_LOG, run_pipeline, stage
from pipelines.beam.progress import Progress, reporting
from pipelines.beam.runners import make_runner, pipeline_options
from pipelines.datasets import ImageData
from pipelines.stored.layout import BLOCK_VIEWS, VIEWS_PER_SHARD, Layout
from pipelines.stored.manifest import Manifest
from pipelines.stored.planning import (
    bytes_of_views,
    check_arguments,
    check_disk,
    positions,
    request_fields,
)


@dataclass(frozen=True)
class PrecomputeResult:
    """What a run of the job did.

    `views` and `bytes` are those of the whole set; `views_per_second` is the rate of
    this run's own scoring, start of the workers included (0 if nothing was left).
    `members` are the numbers, from 1, that the teachers asked for have in a set that
    keeps members; it may hold others too.
    """

    distillation_set: str
    content_digest: str
    views: int
    bytes: int
    views_per_second: float
    shards_done: int
    shards_skipped: int
    members: tuple[int, ...] = ()


def run(
    *,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Any,
    passes: int,
    store: str,
    output: str,
    seed: int,
    keep_members: bool = False,
    logits_dtype: str = "float32",
    targets: Sequence[str] = (),
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    views_per_shard: int = VIEWS_PER_SHARD,
    block_views: int = BLOCK_VIEWS,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
    before: Callable[[list[int], int], None] | None = None,
) -> PrecomputeResult:
    """Makes, finishes or extends a distillation set.

    Shards that are already there and whole are kept. Asking for more passes than a
    finished set has adds them, and so does asking for more teachers of a set that
    keeps members; the old manifest stays valid until the new one replaces it. Asking
    for fewer leaves the set as it is.

    Args:
        teacher_paths: `.keras` files; the stored logits are the mean of theirs. To
            give a set that keeps members another one, its own file is enough.
        data: the transfer set is its train split.
        augmentation: how views are made: of one of the kinds in `augment.VIEWS`.
        passes: augmented sweeps over the transfer set.
        store: a name in `stores.STORES`: "images" keeps pixels, "replay" seeds.
        output: directory of the set, anything Beam's FileSystems can write.
        seed: chooses views and their order.
        keep_members: store every teacher's own logits beside the mean.
        logits_dtype: how logits are stored, "float32" or "float16".
        targets: what is kept beside the logits, names in `targets.TARGETS`.
        workers: processes of Beam's in-process runner (None: one per core, or a
            single one where there is a GPU).
        beam_options: Beam's own options, see `beam_options`.
        views_per_shard: size of a shard; no effect on contents or order.
        block_views: views scored in one batch.
        force: accept a card-less teacher that disagrees with the labels.
        command: what finishes this set; errors about an unfinished set quote it.
        progress: called with (shards ready, shards in all, seconds left or None).
        before: called once, after all checks, if there is anything to do: with the
            views in every shard that is going to be scored, and the bytes of them.

    Raises:
        UserError: the request cannot be met; nothing expensive was done.
        StaleArtifactError: `output` holds a set of another request.
    """
    counts = {"passes": passes, "workers": workers}
    counts |= {"block_views": block_views, "views_per_shard": views_per_shard}
    signal = {"store": store, "logits_dtype": logits_dtype, "targets": targets}
    signal["teacher_paths"] = teacher_paths
    check_arguments(**signal, **counts)
    options = pipeline_options(beam_options)
    output = files.absolute(output)
    log = files.join(output, WORKER_LOG)
    runner = make_runner(options, beam_options, workers, log=log)
    samples = (len(data.train), len(data.validation))
    layout = Layout(*samples, passes, seed, block_views, views_per_shard)
    asked = request_fields(
        **signal,
        data=data,
        augmentation=augmentation,
        keep_members=keep_members,
        layout=layout,
        force=force,
    )
    request = shards.joined_with_earlier(output, asked)
    layout = replace(layout, passes=request["passes"])
    members = positions(asked, request["teachers"])
    teachers = dict(zip(members, teacher_paths, strict=True))
    todo = shards.unfinished(output, layout, shards.kept_digests(request))
    _check(todo, teachers, request, layout, output, data)
    if todo and before:
        before(*_amount(todo, request, layout))
    began = time.monotonic()
    scratch = files.join(output, SCRATCH)
    if todo:
        shards.write_plan(output, request, layout, command, scratch)
        job = stage(output, teachers, data, augmentation, request, layout)
        with reporting(job, todo, progress):
            run_pipeline(job, todo, options, runner)
    seconds = time.monotonic() - began
    manifest = shards.publish_manifest(output, request, layout, scratch)
    _delete_scratch(output)
    kept = tuple(place + 1 for place in members) if keep_members else ()
    return replace(_result(output, manifest, todo, seconds), members=kept)


def _result(
    output: str, manifest: Manifest, todo: Sequence[shards.Work], seconds: float
) -> PrecomputeResult:
    views = sum(manifest.layout.shard_views(*work[:2]) for work in todo)
    every = (manifest.shards, *manifest.member_shards)
    return PrecomputeResult(
        distillation_set=output,
        content_digest=manifest.content_digest,
        views=manifest.views,
        bytes=sum(shard.bytes for each in every for shard in each),
        views_per_second=views / seconds if todo else 0.0,
        shards_done=len(todo),
        shards_skipped=len(manifest.shards) - len(todo),
    )


def _check(
    todo: Sequence[shards.Work],
    teachers: Mapping[int, str],
    request: Mapping[str, Any],
    layout: Layout,
    output: str,
    data: ImageData,
) -> None:
    """UserError unless every teacher that has to score is there, and disk enough."""
    needed = {place for work in todo for place in work[3]}
    for place in sorted(needed - set(teachers)):
        file = request["teachers"][place]["file"]
        raise UserError(
            f"{output} also keeps the logits of member {place + 1} ({file}), which has "
            "views to score; add its file to --teacher"
        )
    if FileSystems.get_scheme(output) is None:
        _, total = _amount(todo, request, layout)
        check_disk(output, needed=total, data=data)


def _amount(
    todo: Sequence[shards.Work], request: Mapping[str, Any], layout: Layout
) -> tuple[list[int], int]:
    """Views in every shard to be scored, and what is missing of them in bytes."""
    views = [layout.shard_views(*work[:2]) for work in todo]
    return views, sum(bytes_of_views(request, layout, work) for work in todo)


def _delete_scratch(output: str) -> None:
    try:
        FileSystems.delete([files.join(output, SCRATCH)])
    except BeamIOError as error:  # the set is complete all the same
        logging.getLogger(__name__).warning("left %s/.work behind: %s", output, error)
