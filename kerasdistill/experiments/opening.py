"""Opening a distillation set with a bar that shows how far the check is."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kerasdistill.files import digest_of
from pipelines import distillation_set
from pipelines.datasets import ImageData


def opened(
    path: str | Path, *, data: ImageData, workdir: str | Path, **options: Any
) -> distillation_set.DistillationSet:
    """`distillation_set.open`, its progress on stderr.

    Args:
        path: a finished set: a directory, or a URL such as gs://bucket/set, which is
            first copied into the workdir (what is already there is not copied again).
        data: what it must have been made from.
        workdir: where a copy goes.
        options: members, averaging and expect, as for `open`.
    """
    if "://" in str(path):
        from pipelines.beam.fetch import fetch  # Apache Beam takes seconds to import

        local = Path(workdir) / f"fetched-{digest_of(str(path))[:12]}"
        with _bar("fetching shards") as progress:
            path = fetch(str(path), local, progress=progress)
    with _bar("checking shards") as progress:
        return distillation_set.open(path, data=data, progress=progress, **options)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    with tqdm(
        desc=what,
        unit="B",
        unit_scale=True,
        leave=False,
        delay=1,  # a refusal that comes at once has its line to itself
        file=sys.stderr,
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
