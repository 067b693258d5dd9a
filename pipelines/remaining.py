"""What an interrupted set still lacks, told quickly: sizes count, not checksums."""

import json
from pathlib import Path

from pipelines.examples import ImageData
from pipelines.layout import Layout, sidecar_name
from pipelines.planning import planned_bytes


def missing_work(
    folder: str | Path | None, layout: Layout, *, data: ImageData, store: str
) -> tuple[list[int], int]:
    """Views in every missing shard (see `missing_shards`), and the bytes of all."""
    missing = missing_shards(folder, layout)
    stored = planned_bytes(data, passes=layout.passes, store=store)
    part = sum(missing) / (layout.passes * layout.num_samples)
    return missing, int(stored * min(1.0, part))


def missing_shards(folder: str | Path | None, layout: Layout) -> list[int]:
    """Views in every shard that is not there or not as long as its sidecar says.

    All are missing where there is no folder. The job itself looks closer, and scores
    what is damaged too.
    """
    return [
        layout.shard_views(*shard)
        for shard in layout.shards()
        if folder is None or not _there(Path(folder), layout.shard_name(*shard))
    ]


def _there(folder: Path, name: str) -> bool:
    try:
        told = json.loads((folder / sidecar_name(name)).read_bytes())["bytes"]
        return (folder / name).stat().st_size == told
    except (OSError, ValueError, KeyError, TypeError):
        return False
