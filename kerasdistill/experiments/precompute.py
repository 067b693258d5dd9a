"""The stored signal: teachers label augmented passes once, for every student."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.files import sha256_file
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from pipelines import precompute
from pipelines.beam.progress import print_progress
from pipelines.datasets import ImageData

FOLDER = "distillation_set"  # inside the run's


def run_directory(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    store: str,
    seed: int,
    augmentation: base.Augmentation,
) -> RunDirectory:
    """Where the set of these teachers goes, or went.

    The number of passes is no part of the request's identity: asking for more of
    them extends the same set.
    """
    for path in teacher_paths:
        if not Path(path).is_file():
            raise UserError(f"teacher {path} does not exist; pass a .keras file")
    request = {
        "teachers": [sha256_file(path) for path in teacher_paths],
        "dataset": data.identity(),
        "augmentation": base.fields(augmentation),
        "store": store,
        "seed": seed,
    }
    return RunDirectory.open(workdir, "precompute", request)


def run(
    teacher_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    passes: int,
    store: str = "images",
    seed: int = 0,
    augmentation: base.Augmentation | None = None,
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    force: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Makes, finishes or extends the distillation set of these teachers.

    Returns:
        The fields of the Beam job's result, as `results.json` keeps them.
    """
    augmentation = augmentation or base.Augmentation()
    with run_directory(
        teacher_paths,
        data=data,
        workdir=workdir,
        store=store,
        seed=seed,
        augmentation=augmentation,
    ) as folder:
        path = folder.path / FOLDER
        made = precompute.run(
            teacher_paths=[str(path) for path in teacher_paths],
            data=data,
            augmentation=augmentation,
            passes=passes,
            store=store,
            output=str(path),
            seed=seed,
            workers=workers,
            beam_options=beam_options,
            force=force,
            command=command,
            progress=print_progress,
        )
        results = {"kind": "precompute", **base.fields(made)}
        results["distillation_set"] = str(path)
        if (found := folder.results()) is not None and not made.shards_done:
            # Nothing was scored this time: the rate that was measured stays.
            with contextlib.suppress(KeyError):
                results["views_per_second"] = found["views_per_second"]
        return folder.finish(results)
