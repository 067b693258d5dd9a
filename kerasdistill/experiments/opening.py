"""Opening a distillation set with a bar that shows how far the check is."""

import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipelines import distillation_set
from pipelines.datasets import ImageData


def opened(
    path: str | Path, *, data: ImageData, **options: Any
) -> distillation_set.DistillationSet:
    """`distillation_set.open`, its progress on stderr.

    Args:
        path: a finished set.
        data: what it must have been made from.
        options: members, averaging and expect, as for `open`.
    """
    with tqdm(
        desc="checking shards",
        unit="B",
        unit_scale=True,
        leave=False,
        delay=1,  # a refusal that comes at once has its line to itself
        file=sys.stderr,
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return distillation_set.open(path, data=data, progress=show, **options)
