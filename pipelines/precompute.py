"""The offline job that scores views with a teacher and writes a distillation set.

The unit of work is a shard, its inner unit a block: a fixed list of sample ids of
one pass, scored in one batch of a fixed size by a process with one TensorFlow
thread, so no result depends on the number of workers, on shards or on restarts.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from kerasdistill.errors import UserError
from pipelines.beam import files, shards
from pipelines.beam.files import BeamIOError, FileSystems
from pipelines.beam.job import WORKER_LOG, run_pipeline, stage
from pipelines.beam.progress import Progress, reporting
from pipelines.beam.runners import make_runner, pipeline_options
from pipelines.datasets import ImageData
from pipelines.stored import planning
from pipelines.stored.layout import BLOCK_VIEWS, VIEWS_PER_SHARD, Layout


@dataclass(frozen=True)
class PrecomputeResult:
    """What a run of the job did.

    `views` and `bytes` are those of the whole set; `views_per_second` is the rate of
    this run's own scoring, start of the workers included (0 if nothing was left).
    `members` are the numbers, from 1, of these teachers in a set that keeps members;
    it may hold others too.
    """

    distillation_set: str
    content_digest: str
    views: int
    bytes: int
    views_per_second: float
    shards_done: int
    shards_skipped: int
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a plan saw, which need not be looked at again.

    `checked` are the weights' digests of teachers that `checking.check_teacher` passed
    on these data; `start` is in how many shards' time the workers start.
    """

    checked: Set[str] = frozenset()
    start: float = 0.0


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
    seen: Seen = Seen(),
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
        augmentation: of one of the kinds in `augment.VIEWS`.
        store: a name in `stores.STORES`: "images" keeps pixels, "replay" seeds.
        output: a directory that Beam's FileSystems can write.
        keep_members: store every teacher's own logits beside the mean.
        logits_dtype: how logits are stored, "float32" or "float16".
        targets: names in `targets.TARGETS` of what is kept beside the logits.
        workers: processes of Beam's in-process runner (None: one per core, or a
            single one where there is a GPU).
        beam_options: Beam's own options, see `beam_options`.
        views_per_shard: no effect on contents or order.
        force: accept a card-less teacher that disagrees with the labels.
        command: what finishes this set; errors about an unfinished set quote it.
        progress: called with (shards ready, shards in all, seconds left or None).
        seen: what a plan saw.
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
    planning.check_arguments(**signal, **counts)
    options = pipeline_options(beam_options)
    output = files.absolute(output)
    log = files.join(output, WORKER_LOG)
    runner = make_runner(options, beam_options, workers, log=log)
    samples = (len(data.train), len(data.validation))
    layout = Layout(*samples, passes, seed, block_views, views_per_shard)
    how = {"augmentation": augmentation, "keep_members": keep_members, "force": force}
    how["checked"] = seen.checked
    fields = planning.request_fields(**signal, **how, data=data, layout=layout)
    request = shards.joined_with_earlier(output, fields)
    layout = replace(layout, passes=request["passes"])
    members = planning.positions(fields, request["teachers"])
    teachers = dict(zip(members, teacher_paths, strict=True))
    todo = shards.unfinished(output, layout, shards.kept_digests(request))
    scoring = {place for work in todo for place in work[3]}
    _refuse_missing(scoring - set(teachers), request, output)
    views = [layout.shard_views(*work[:2]) for work in todo]
    missing = sum(planning.bytes_of_views(request, layout, work) for work in todo)
    if FileSystems.get_scheme(output) is None:
        planning.check_disk(output, needed=missing, data=data)
    kept = tuple(place + 1 for place in members) if keep_members else ()
    if not todo:
        return replace(_publish(output, request, layout), members=kept)
    if before:
        before(views, missing)
    began = time.monotonic()
    shards.write_plan(output, request, layout, command)
    job = stage(output, teachers, data, augmentation, request, layout)
    with reporting(job, todo, progress, start=seen.start):
        run_pipeline(job, todo, options, runner)
    speed = sum(views) / (time.monotonic() - began)
    result = _publish(output, request, layout, shards_done=len(todo))
    return replace(result, views_per_second=speed, members=kept)


def _publish(
    output: str, request: dict[str, Any], layout: Layout, *, shards_done: int = 0
) -> PrecomputeResult:
    """The manifest comes last and makes the set complete; scratch files go."""
    manifest = shards.publish_manifest(output, request, layout)
    try:
        files.delete([files.join(output, shards.SCRATCH)])
    except BeamIOError as error:  # the set is complete all the same
        logging.getLogger(__name__).warning("left %s/.work behind: %s", output, error)
    written = (manifest.shards, *manifest.member_shards)
    return PrecomputeResult(
        distillation_set=output,
        content_digest=manifest.content_digest,
        views=manifest.views,
        bytes=sum(shard.bytes for each in written for shard in each),
        views_per_second=0.0,
        shards_done=shards_done,
        shards_skipped=len(manifest.shards) - shards_done,
    )


def _refuse_missing(places: set[int], request: Mapping[str, Any], output: str) -> None:
    """UserError if teachers that have to score, by their places, are not there."""
    for place in sorted(places):
        file = request["teachers"][place]["file"]
        raise UserError(
            f"{output} also keeps the logits of member {place + 1} ({file}), which has "
            "views to score; add its file to `teacher_paths`"
        )
