"""What a precompute run is to make, and whether it can, before it starts."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import require_space, sha256_bytes
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.training import engines
from pipelines import checking, scoring
from pipelines.datasets import ImageData
from pipelines.stored import records
from pipelines.stored.integrity import data_fields
from pipelines.stored.layout import Layout
from pipelines.stored.manifest import SCHEMA_VERSION, Manifest, Shard, first_difference
from pipelines.stored.stores import STORES, WITHOUT_PIXELS
from pipelines.stored.targets import ENCODINGS, described, find, stored_targets
from pipelines.views import augment


def check_arguments(
    *,
    teacher_paths: Sequence[str],
    store: str,
    logits_dtype: str,
    targets: Sequence[str] = (),
    **counts: int | None,
) -> None:
    """Refuses what is wrong whatever the data; counts are >= 1 or None."""
    if store not in STORES:
        raise UserError(f"store {store!r} is not known; use {' or '.join(STORES)}")
    if logits_dtype not in ENCODINGS:
        raise UserError(
            f"logits dtype {logits_dtype!r} is not known; use {' or '.join(ENCODINGS)}"
        )
    if len({find(name).key for name in targets}) < len(targets):
        raise UserError(
            f"targets {', '.join(targets)} would have one name in a batch; keep one"
        )
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"{name} is {count}, expected at least 1")
    if not teacher_paths:
        raise UserError("no teacher given, expected at least one .keras file")
    for path in teacher_paths:
        if not Path(path).is_file():
            raise UserError(f"teacher {path} does not exist; give a .keras file")


def request_fields(
    *,
    teacher_paths: Sequence[str],
    data: ImageData,
    augmentation: Any,
    store: str,
    logits_dtype: str,
    targets: Sequence[str],
    keep_members: bool,
    layout: Layout,
    force: bool,
    checked: Set[str] = frozenset(),
) -> dict[str, Any]:
    """The part of the manifest that is known beforehand, teachers checked but for those
    whose weights' digests are in `checked`."""
    engines.current().allow_gpu_growth()
    teachers = []
    for path in teacher_paths:
        teacher = loading.load(path)
        if weights_digest(teacher) not in checked:
            checking.check_teacher(teacher, path, data=data, force=force)
        teachers.append(teacher)
    fields = scoring.signal_fields(teachers, teacher_paths)
    digests = [teacher["weights_digest"] for teacher in fields["teachers"]]
    if len(set(digests)) < len(digests):
        raise UserError("two of the teachers are the same; name every teacher once")
    return {
        "schema_version": SCHEMA_VERSION,
        "store": store,
        **data_fields(data),
        "augmentation": augment.to_json(augmentation),
        "augmentation_code_version": augment.CODE_VERSION,
        "logits_dtype": logits_dtype,
        "keep_members": keep_members,
        "stored_mean_of": len(teacher_paths),
        **{
            name: value
            for name, value in asdict(layout).items()
            if name != "num_samples"
        },
        **described(targets, teachers),
        **fields,
    }


def joined(
    request: Mapping[str, Any], earlier: Mapping[str, Any], *, output: str
) -> dict[str, Any]:
    """The request with what the set in `output`, finished or not, already has.

    Passes that are there stay, and so do kept members; new ones come after them.
    `earlier` is the manifest, or the request of an unfinished set; StaleArtifactError
    names the first field in which it differs otherwise.
    """
    difference = first_difference(_identity(request), _identity(earlier))
    if difference:
        field, expected, old = difference
        raise StaleArtifactError(
            f"{output} holds a distillation set of another request: field {field} is "
            f"{old!r} there, {expected!r} here; choose another `workdir`"
        )
    # Only a manifest has views: passes of an unfinished set are not there yet.
    passes = max(request["passes"], earlier["passes"] if "views" in earlier else 0)
    if not request["keep_members"]:
        return {**request, "passes": passes}
    members = {}
    for teacher in [*earlier["teachers"], *request["teachers"]]:
        members.setdefault(_member(teacher), teacher)
    return {
        **request,
        "passes": passes,
        "teachers": list(members.values()),
        "stored_mean_of": earlier["stored_mean_of"],
    }


def positions(request: Mapping[str, Any], all_teachers: list[dict]) -> list[int]:
    """Where the request's teachers stand among those of its joined form."""
    places = {_member(teacher): i for i, teacher in enumerate(all_teachers)}
    return [places[_member(teacher)] for teacher in request["teachers"]]


def planned_bytes(
    data: ImageData, *, passes: int, store: str, kept_members: int = 0
) -> int:
    """What a set of float32 logits will take on disk, in bytes, rounded up a little."""
    views = passes * len(data.train)
    files = passes * (1 + kept_members)
    per_view = records.bytes_per_view(
        store=store,
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        kept_members=kept_members,
    )
    return int(1.02 * per_view * views) + 10_000 * files


def bytes_of_views(
    request: Mapping[str, Any], layout: Layout, work: tuple[int, int, bool, tuple]
) -> int:
    """What the missing parts of a shard (see `beam.shards`) take, in bytes."""

    def per_record(store: str, targets: Sequence[Any] = ()) -> int:
        return records.bytes_per_view(
            store=store,
            image_shape=tuple(request["image_shape"]),
            num_classes=len(request["class_names"]),
            logits_dtype=request["logits_dtype"],
            targets=targets,
        )

    per_view = len(work[3]) * per_record(WITHOUT_PIXELS)
    if work[2]:
        targets = stored_targets(request.get("targets", {}))
        per_view += per_record(request["store"], targets)
    return int(1.02 * per_view * layout.shard_views(*work[:2]))


def check_disk(output: str, *, needed: float, data: ImageData) -> None:
    """UserError if `needed` more bytes do not fit beside the workers' transfer set."""
    staged = len(data.train) * math.prod(data.image_shape) * data.train.in_memory
    require_space(output, needed + staged)


def finished_manifest(
    request: Mapping[str, Any],
    sidecars: Sequence[Mapping[str, Any]],
    member_sidecars: Sequence[Sequence[Mapping[str, Any]]],
    *,
    where: str,
) -> Manifest:
    """The manifest of a set whose shards, in stored order, left these sidecars."""
    signals = (sidecars, *member_sidecars)
    value = {
        **request,
        "views": request["passes"] * request["dataset"]["num_samples"],
        "shards": _shard_fields(sidecars),
        "member_shards": [_shard_fields(each) for each in member_sidecars],
        "content_digest": content_digest(
            (*block[:2], number, block[2])
            for number, of_signal in enumerate(signals)
            for sidecar in of_signal
            for block in sidecar["block_digests"]
        ),
    }
    return Manifest.from_json(value, where=where)


def content_digest(blocks: Iterable[tuple[int, int, int, str]]) -> str:
    """Hex sha256 over all blocks, whatever order they come in: (pass, block, 0 for the
    views or the number of a kept member from 1, digest of the block)."""
    lines = [f"{' '.join(map(str, block))}\n" for block in sorted(map(tuple, blocks))]
    return sha256_bytes("".join(lines).encode())


def _shard_fields(sidecars: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = Shard.__dataclass_fields__
    return [{name: sidecar[name] for name in names} for sidecar in sidecars]


def _identity(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request without what may change: passes, kept members, names of files."""
    free = {"passes", "teachers"}
    teachers = [
        {key: value for key, value in teacher.items() if key != "file"}
        for teacher in request["teachers"]
    ]
    if request["keep_members"]:
        free, teachers = {*free, "stored_mean_of"}, []
    rest = {key: value for key, value in request.items() if key not in free}
    # A list, for `first_difference` does not compare what one side alone mentions.
    targets = sorted(request.get("targets", {}).items())
    return {**rest, "targets": targets, "teachers": teachers}


def _member(teacher: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a teacher's logits its own: weights and precision."""
    return teacher["weights_digest"], teacher["precision"]
