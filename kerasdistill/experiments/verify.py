"""Is a distillation set whole, and is it still what its teachers say?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import UserError
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.recipes import base
from kerasdistill.running.opening import manifest_of, opened
from kerasdistill.running.progress import bar
from kerasdistill.running.steps import Cost, OnlyPlanned, Plan, size
from kerasdistill.runs import read_json
from pipelines import scoring
from pipelines.datasets import ImageData
from pipelines.stored import verification


def run(
    path: str | Path,
    *,
    teacher_paths: Sequence[str | Path] | None,
    data: ImageData,
    workdir: str | Path,
    sample: int,
    seed: int,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Checks every checksum and the content, then scores a sample of views again.

    Args:
        path: a finished set, a directory or a URL.
        teacher_paths: its teachers in any order (None: where they were when the set
            was made).
        data: what it was made from.
        workdir: where a copy of a set at a URL goes.
        sample: how many views to score, at least.
        seed: chooses them.
        only_plan: say what will be done and stop.

    Returns:
        checksums_ok, largest_logit_difference, tolerance and views.

    Raises:
        UserError: a teacher is not found, or logits differ beyond the tolerance.
        StaleArtifactError: a shard or the manifest is damaged, or was rewritten.
    """
    if only_plan:
        made = manifest_of(path)
        count = sum(shard.bytes for shard in made.shards)
        how = f"{size(count)} hashed, {made.views:,} views read, {sample} scored"
        raise OnlyPlanned(Plan({f"verify {path}": Cost(None, how=how)}))
    # As the workers did: the order of sums depends on the number of threads.
    scoring.pin_to_one_thread()
    stored = opened(path, data=data, workdir=workdir)
    teachers = _teachers(stored.path, stored.manifest.teachers, teacher_paths)
    with bar("reading all of it", unit="pass") as progress:
        verification.check_content(stored, data=data, progress=progress)
    with bar("scoring views again", unit="view") as progress:
        how = {"sample": sample, "seed": seed, "progress": progress}
        compared = verification.verify(stored, teachers, **how)
    return {"checksums_ok": True, **base.fields(compared)}


def _teachers(
    path: Path,
    teachers: Sequence[dict[str, Any]],
    teacher_paths: Sequence[str | Path] | None,
) -> dict[int, keras.Model]:
    """The models of the manifest's `teachers`, by their positions there."""
    if teacher_paths is None:
        results = path.parent / "results.json"
        earlier = read_json(results).get("teachers", []) if results.is_file() else []
        teacher_paths = [each for each in earlier if Path(each).is_file()]
    models = [loading.load(each) for each in teacher_paths]
    by_digest = {weights_digest(model): model for model in models}
    for teacher in teachers:
        if teacher["weights_digest"] not in by_digest:
            raise UserError(
                f"the set's teacher {teacher['file']} (weights "
                f"{teacher['weights_digest'][:12]}) was not found; give the files of "
                "all its teachers with `teacher_paths`"
            )
    return {i: by_digest[each["weights_digest"]] for i, each in enumerate(teachers)}
