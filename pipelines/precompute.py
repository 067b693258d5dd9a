"""The offline job that scores views with a teacher and writes a distillation set.

The unit of work is a shard, its inner unit a block: a fixed list of sample ids of
one pass, scored in one batch of a fixed size by a process with one TensorFlow
thread, so no result depends on the number of workers, on shards or on restarts.
"""

import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.recipes.base import Augmentation
from pipelines.beam import files
from pipelines.beam.job import SCRATCH, WORKER_LOG, run_pipeline, stage
from pipelines.beam.progress import Progress, reporting
from pipelines.beam.runners import make_runner, pipeline_options
from pipelines.datasets import ImageData
from pipelines.integrity import sealed
from pipelines.layout import (
    BLOCK_VIEWS,
    MANIFEST_NAME,
    PLAN_NAME,
    VIEWS_PER_SHARD,
    Layout,
    sidecar_name,
)
from pipelines.manifest import Manifest
from pipelines.planning import (
    check_arguments,
    check_disk,
    finished_manifest,
    refuse_other_request,
    request_fields,
)


@dataclass(frozen=True)
class PrecomputeResult:
    """What a run of the job did.

    `views` and `bytes` are those of the whole set; `views_per_second` is the rate of
    this run's own scoring, start of the workers included (0 if nothing was left).
    """

    distillation_set: str
    content_digest: str
    views: int
    bytes: int
    views_per_second: float
    shards_done: int
    shards_skipped: int


def run(
    *,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Augmentation,
    passes: int,
    store: str,
    output: str,
    seed: int,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    views_per_shard: int = VIEWS_PER_SHARD,
    block_views: int = BLOCK_VIEWS,
    force: bool = False,
    command: str | None = None,
    progress: Progress | None = None,
) -> PrecomputeResult:
    """Makes, finishes or extends a distillation set.

    Shards that are already there and whole are kept. Asking for more passes than a
    finished set has adds them; the old manifest stays valid until the new one
    replaces it. Asking for fewer leaves the set as it is.

    Args:
        teacher_paths: `.keras` files; the stored logits are the mean of theirs.
        data: the transfer set is its train split.
        augmentation: how views are made.
        passes: augmented sweeps over the transfer set.
        store: "images" (pixels and logits) or "replay" (seeds and logits).
        output: directory of the set, anything Beam's FileSystems can write.
        seed: chooses views and their order.
        workers: processes of Beam's in-process runner (None: one per core, or a
            single one where there is a GPU).
        beam_options: Beam's own options, see `beam_options`.
        views_per_shard: size of a shard; no effect on contents or order.
        block_views: views scored in one batch.
        force: accept a card-less teacher that disagrees with the labels.
        command: what finishes this set; errors about an unfinished set quote it.
        progress: called with (shards ready, shards in all, seconds left or None).

    Raises:
        UserError: the request cannot be met; nothing expensive was done.
        StaleArtifactError: `output` holds a set of another request.
    """
    check_arguments(
        teacher_paths=teacher_paths,
        store=store,
        passes=passes,
        workers=workers,
        views_per_shard=views_per_shard,
        block_views=block_views,
    )
    options = pipeline_options(beam_options)
    output = files.absolute(output)
    runner = make_runner(
        options, beam_options, workers, log=files.join(output, WORKER_LOG)
    )
    counts = (len(data.train), len(data.validation), passes)
    layout = Layout(*counts, seed, block_views, views_per_shard)
    request = request_fields(
        teacher_paths=teacher_paths,
        data=data,
        augmentation=augmentation,
        store=store,
        layout=layout,
        force=force,
    )
    # A finished set with more passes than asked is left as it is.
    passes = max(passes, _claim(output, request))
    request, layout = {**request, "passes": passes}, replace(layout, passes=passes)
    todo = _unfinished_shards(output, layout)
    views = sum(layout.shard_views(*shard) for shard in todo)
    if FileSystems.get_scheme(output) is None:
        check_disk(output, views=views, store=store, data=data)
    began = time.monotonic()
    if todo:
        _write_plan(output, request, layout, command)
        job = stage(output, teacher_paths, data, augmentation, store, layout)
        with reporting(job, todo, progress):
            run_pipeline(job, todo, options, runner)
    seconds = time.monotonic() - began
    manifest = _publish_manifest(output, request, layout)
    _delete_scratch(output)
    rate = views / seconds if todo else 0.0
    return _result(output, manifest, rate=rate, shards_done=len(todo))


def _result(
    output: str, manifest: Manifest, *, rate: float, shards_done: int
) -> PrecomputeResult:
    return PrecomputeResult(
        distillation_set=output,
        content_digest=manifest.content_digest,
        views=manifest.views,
        bytes=sum(shard.bytes for shard in manifest.shards),
        views_per_second=rate,
        shards_done=shards_done,
        shards_skipped=len(manifest.shards) - shards_done,
    )


def _claim(output: str, request: dict[str, Any]) -> int:
    """Refuses a directory that holds a set of another request.

    Returns:
        The passes of the finished set that is there, 0 if there is none.
    """
    finished = 0
    for name in (MANIFEST_NAME, PLAN_NAME):
        path = files.join(output, name)
        if not FileSystems.exists(path):
            continue
        try:
            value = json.loads(files.get(path))
            earlier = value if name == MANIFEST_NAME else value["request"]
            refuse_other_request(request, earlier, output=output)
            finished = finished or int(value.get("passes", 0))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StaleArtifactError(
                f"{path} is damaged ({error!r}); delete the directory or choose another"
            ) from error
    return finished


def _unfinished_shards(output: str, layout: Layout) -> list[tuple[int, int]]:
    """The shards that are not there or not whole."""

    def whole(shard: tuple[int, int]) -> bool:
        name = layout.shard_name(*shard)
        path = files.join(output, name)
        sidecar_path = files.join(output, sidecar_name(name))
        if not FileSystems.exists(sidecar_path) or not FileSystems.exists(path):
            return False
        try:
            sidecar = json.loads(files.get(sidecar_path))
            told = (sidecar["name"], sidecar["bytes"], sidecar["sha256"])
        except (ValueError, KeyError, TypeError):
            return False
        return told == (name, *files.measure(path))

    shards = layout.shards()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = zip(shards, pool.map(whole, shards), strict=True)
        return [shard for shard, is_whole in found if not is_whole]


def _write_plan(
    output: str, request: dict[str, Any], layout: Layout, command: str | None
) -> None:
    command = command or "the same call of precompute.run"
    plan = {"request": request, "layout": asdict(layout), "command": command}
    try:
        files.put_json(files.join(output, PLAN_NAME), plan, files.join(output, SCRATCH))
    except (OSError, BeamIOError) as error:
        raise UserError(
            f"cannot write to {output} ({error}); choose another --workdir"
        ) from error


def _publish_manifest(output: str, request: dict[str, Any], layout: Layout) -> Manifest:
    sidecars = []
    for name in layout.shard_names():
        path = files.join(output, sidecar_name(name))
        if not FileSystems.exists(path):
            raise StaleArtifactError(
                f"{output}: shard {name} was not written; run the same command again"
            )
        sidecars.append(json.loads(files.get(path)))
    path = files.join(output, MANIFEST_NAME)
    manifest = finished_manifest(request, sidecars, where=path)
    files.put_json(path, sealed(manifest.to_json()), files.join(output, SCRATCH))
    return manifest


def _delete_scratch(output: str) -> None:
    try:
        FileSystems.delete([files.join(output, SCRATCH)])
    except BeamIOError as error:  # the set is complete all the same
        logging.getLogger(__name__).warning("left %s/.work behind: %s", output, error)
