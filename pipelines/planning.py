"""What a precompute run is asked for, and whether it can be done, before it starts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import require_space
from kerasdistill.models import loading
from kerasdistill.recipes.base import Augmentation
from pipelines import augment, records, scoring
from pipelines.datasets import ImageData
from pipelines.integrity import data_fields
from pipelines.layout import LOGITS_DTYPE, STORES, Layout
from pipelines.manifest import SCHEMA_VERSION, Manifest, Shard, first_difference


def check_arguments(
    *, teacher_paths: Sequence[str], store: str, **counts: int | None
) -> None:
    """Refuses what is wrong whatever the data; counts are >= 1 or None."""
    if store not in STORES:
        raise UserError(f"store {store!r} is not known; use {' or '.join(STORES)}")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"{name} is {count}, expected at least 1")
    if not teacher_paths:
        raise UserError("no teacher given, expected at least one .keras file")
    for path in teacher_paths:
        if not Path(path).is_file():
            raise UserError(
                f"teacher {path} does not exist; give the path of a .keras file"
            )


def request_fields(
    *,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Augmentation,
    store: str,
    layout: Layout,
    force: bool,
) -> dict[str, Any]:
    """The part of the manifest that is known beforehand, teachers checked."""
    scoring.allow_gpu_growth()
    teachers = []
    for path in teacher_paths:
        teacher = loading.load(path)
        scoring.check_teacher(teacher, path, data=data, force=force)
        teachers.append(teacher)
    return {
        "schema_version": SCHEMA_VERSION,
        "store": store,
        **data_fields(data),
        "augmentation": asdict(augmentation),
        "augmentation_code_version": augment.CODE_VERSION,
        "logits_dtype": LOGITS_DTYPE,
        "seed": layout.seed,
        "passes": layout.passes,
        "block_views": layout.block_views,
        "views_per_shard": layout.views_per_shard,
        "num_validation": layout.num_validation,
        **scoring.signal_fields(teachers, teacher_paths),
    }


def refuse_other_request(
    request: Mapping[str, Any], earlier: Mapping[str, Any], *, output: str
) -> None:
    """StaleArtifactError with the first field where `earlier`, found in `output`,
    differs; the number of passes may."""
    difference = first_difference(_identity(request), _identity(earlier))
    if difference:
        field, expected, old = difference
        raise StaleArtifactError(
            f"{output} holds a distillation set of another request: field {field} is "
            f"{old!r} there, {expected!r} here; choose another --workdir"
        )


def planned_bytes(data: ImageData, *, passes: int, store: str) -> int:
    """What a set will take on disk, in bytes, rounded up a little."""
    return _bytes_of(passes * len(data.train), data, store) + 10_000 * passes


def check_disk(output: str, *, views: int, store: str, data: ImageData) -> None:
    """UserError if `views` more views do not fit beside the workers' transfer set."""
    require_space(output, _bytes_of(views, data, store) + data.train.images.nbytes)


def finished_manifest(
    request: Mapping[str, Any], sidecars: Sequence[Mapping[str, Any]], *, where: str
) -> Manifest:
    """The manifest of a set whose shards, in stored order, left these sidecars."""
    blocks = (block for sidecar in sidecars for block in sidecar["block_digests"])
    shard_fields = Shard.__dataclass_fields__
    value = {
        **request,
        "views": request["passes"] * request["dataset"]["num_samples"],
        "shards": [
            {name: sidecar[name] for name in shard_fields} for sidecar in sidecars
        ],
        "content_digest": content_digest(blocks),
    }
    return Manifest.from_json(value, where=where)


def content_digest(blocks: Iterable[tuple[int, int, str]]) -> str:
    """Hex sha256 over (pass, block, block digest), whatever order they come in."""
    digest = hashlib.sha256()
    for pass_index, block_index, block_digest in sorted(map(tuple, blocks)):
        digest.update(f"{pass_index} {block_index} {block_digest}\n".encode())
    return digest.hexdigest()


def _bytes_of(views: int, data: ImageData, store: str) -> int:
    per_view = records.bytes_per_view(
        store=store, image_shape=data.image_shape, num_classes=data.num_classes
    )
    return int(1.02 * per_view * views)


def _identity(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what changes no view or logit: passes, names of files."""
    teachers = [
        {key: value for key, value in teacher.items() if key != "file"}
        for teacher in request["teachers"]
    ]
    rest = {key: value for key, value in request.items() if key != "passes"}
    return {**rest, "teachers": teachers}
