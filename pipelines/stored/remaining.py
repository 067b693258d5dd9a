"""What an interrupted set still lacks, by the sizes of its files alone: quick."""

import json
from collections.abc import Sequence
from pathlib import Path

from kerasdistill.reading_files import read_bytes
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
    itself looks closer, and scores what is damaged too. `folder` may also be a URL, or
    None for a new set; `kept_digests` are of the teachers whose own logits are kept.
    """
    missing = []
    for shard in layout.shards():
        name = layout.shard_name(*shard)
        names = (name, *(member_name(name, digest) for digest in kept_digests))
        if folder is None or not all(_there(Path(folder), each) for each in names):
            missing.append(layout.shard_views(*shard))
    kept = {"store": store, "kept_members": len(kept_digests)}
    planned = planned_bytes(data, passes=layout.passes, **kept)
    part = min(1.0, sum(missing) / (layout.passes * layout.num_samples))
    return missing, int(planned * part)


def _there(folder: Path, name: str) -> bool:
    try:
        size = json.loads(read_bytes(folder / sidecar_name(name), "json"))["bytes"]
        return (folder / name).stat().st_size == size
    except (OSError, ValueError, KeyError, TypeError):
        return False
