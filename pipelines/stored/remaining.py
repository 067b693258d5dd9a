"""What an interrupted set still lacks, told quickly: sizes count, not checksums."""

import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.sources.examples import ImageData
from pipelines.stored.layout import Layout, member_name, sidecar_name
from pipelines.stored.planning import planned_bytes


def missing_work(
    folder: str | Path | None,
    layout: Layout,
    *,
    data: ImageData,
    store: str,
    kept_digests: Sequence[str] = (),
) -> tuple[list[int], int]:
    """Views in every shard that has something missing, and the bytes of all.

    A file is missing that is not there, or not as long as its sidecar says; the job
    itself looks closer, and scores what is damaged too.

    Args:
        folder: the set's; a URL, or None where there is none yet: all is missing.
        layout: where views lie.
        data: what the set is made from.
        store: how views are kept.
        kept_digests: weights of the teachers whose own logits are to be there too.
    """
    missing = missing_shards(folder, layout, kept_digests)
    stored = planned_bytes(
        data, passes=layout.passes, store=store, kept_members=len(kept_digests)
    )
    part = sum(missing) / (layout.passes * layout.num_samples)
    return missing, int(stored * min(1.0, part))


def missing_shards(
    folder: str | Path | None, layout: Layout, kept_digests: Sequence[str] = ()
) -> list[int]:
    """Views in every shard that has something missing; see `missing_work`."""

    def whole(name: str) -> bool:
        members = (member_name(name, digest) for digest in kept_digests)
        return all(_there(Path(folder), each) for each in (name, *members))

    return [
        layout.shard_views(*shard)
        for shard in layout.shards()
        if folder is None or not whole(layout.shard_name(*shard))
    ]


def _there(folder: Path, name: str) -> bool:
    try:
        told = json.loads((folder / sidecar_name(name)).read_bytes())["bytes"]
        return (folder / name).stat().st_size == told
    except (OSError, ValueError, KeyError, TypeError):
        return False
