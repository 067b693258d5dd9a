"""Opening a distillation set, on disk or in a bucket, with a bar for its checks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.files import digest_of
from kerasdistill.running.progress import bar
from pipelines import distillation_set
from pipelines.datasets import ImageData
from pipelines.stored import integrity
from pipelines.stored.manifest import Manifest


def is_url(path: str | Path) -> bool:
    """Whether the path is one of Beam's file systems, gs://bucket/set."""
    return "://" in str(path)


def manifest_of(path: str | Path) -> Manifest:
    """The manifest of a finished set: a directory, or a URL.

    Raises:
        UserError: there is none.
        StaleArtifactError: it was damaged or edited.
    """
    if not is_url(path):
        return integrity.read_manifest(Path(path))
    from pipelines.beam import fetch  # Apache Beam takes seconds to import

    return fetch.manifest_at(str(path))[0]


def described(
    path: str | Path,
    *,
    data: ImageData,
    members: Sequence[int] | None,
    averaging: str,
    expect: Mapping[str, Any],
) -> distillation_set.DistillationSet:
    """A finished set by its manifest alone, which is checked; shards are not.

    Arguments and errors as for `distillation_set.open`.
    """
    manifest, path = manifest_of(path), Path(path)
    chosen = integrity.chosen_members(path, manifest, members, averaging)
    integrity.require(path, manifest, {**expect, **integrity.data_fields(data)})
    return distillation_set.DistillationSet(path, manifest, data, chosen, averaging)


def opened(
    path: str | Path, *, data: ImageData, workdir: str | Path, **options: Any
) -> distillation_set.DistillationSet:
    """`distillation_set.open`, its progress on stderr.

    A set at a URL, such as gs://bucket/set, is first copied into the workdir; what is
    already there is not copied again. `options` are those of `open`.
    """
    size = {"unit": "B", "unit_scale": True}
    if is_url(path):
        from pipelines.beam import fetch  # as above

        local = Path(workdir) / f"fetched-{digest_of(str(path))[:12]}"
        with bar("fetching shards", **size) as progress:
            path = fetch.fetch(str(path), local, progress=progress)
    with bar("checking shards", **size) as progress:
        return distillation_set.open(path, data=data, progress=progress, **options)
