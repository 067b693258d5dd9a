"""Does a distillation set still say what its teachers say? A sample, scored again."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.seeds import permutation
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored import records
from pipelines.stored.layout import VALIDATION_PASS
from pipelines.stored.manifest import Manifest
from pipelines.stored.planning import content_digest
from pipelines.stored.scorer import Scorer
from pipelines.stored.targets import ENCODINGS
from pipelines.views import augment

FLOAT32_TOLERANCE = 1e-4
HALF_PRECISION_TOLERANCE = 0.02  # of the largest logit: other kernels round otherwise


@dataclass(frozen=True)
class Verification:
    """views scored again; largest difference of a logit; what is tolerated."""

    views: int
    largest_logit_difference: float
    tolerance: float


def verify(
    stored: DistillationSet,
    teachers: Mapping[int, keras.Model],
    *,
    sample: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Scores blocks chosen at random again, on the pixels that are stored.

    `teachers` are all of the manifest's, by their places from 0. At least `sample`
    views are scored, or all; `progress` is called with (views done, views in all).
    UserError if a logit differs by more than the tolerance: 1e-4 where teachers score
    in float32; in half precision 2 % of the largest logit, because another machine may
    round otherwise (the same one does not).
    """
    manifest, layout = stored.manifest, stored.manifest.layout
    scorer = Scorer(
        [teachers[place] for place in range(len(manifest.teachers))],
        augmentation=augment.from_json(manifest.augmentation),
        block_views=manifest.block_views,
        logits_dtype=manifest.logits_dtype,
        targets=manifest.stored_targets,
        stored_mean_of=manifest.stored_mean_of,
    )
    per_pass = layout.blocks(0)
    order = permutation(per_pass * manifest.passes, seed, "verify")
    # Every block has as many views but for a pass's last one.
    rows = layout.rows(0)
    sizes = [len(layout.block_rows(rows, block)) for block in range(per_pass)]
    at_least = np.cumsum([sizes[place % per_pass] for place in order])
    count = np.searchsorted(at_least, sample) + 1
    chosen = {divmod(int(place), per_pass) for place in order[:count]}
    members = tuple(range(len(manifest.member_shards)))
    signals = [(), *((member,) for member in members)]
    views, worst, largest = 0, Counter(), Counter()
    read = [stored.of(signal).blocks(chosen) for signal in signals]
    for blocks in zip(*read, strict=True):
        again = scorer.scores(blocks[0]["image"], members)
        # The stored mean, then every kept member's: float32 [signals, B, K].
        logits = np.stack([each["teacher_logits"] for each in blocks])
        pairs = {"logit": (logits, np.stack([again.logits, *again.members]))}
        for each in manifest.stored_targets:
            values = again.targets[each.name]
            pairs[f"value of {each.name}"] = (blocks[0][each.target.key], values)
        for what, (kept, scored) in pairs.items():
            # Unlike max, this keeps a NaN, which then is not within the tolerance.
            worst[what] = float(np.maximum(worst[what], np.abs(kept - scored).max()))
            largest[what] = max(largest[what], float(np.abs(kept).max()))
        views += len(blocks[0]["image"])
        progress(min(views, sample), sample)
    tolerances = _tolerances(manifest, largest)
    for what, tolerance in tolerances.items():
        if not worst[what] <= tolerance:
            raise UserError(
                f"distillation set {stored.path}: scored again, {views} views differ "
                f"by up to {worst[what]:.3g} in a {what}, tolerated are "
                f"{tolerance:.3g}; the teachers are not those that made it: precompute "
                "again"
            )
    return Verification(views, worst["logit"], tolerances["logit"])


def check_content(
    stored: DistillationSet,
    *,
    data: ImageData,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Reads every view and target and digests them as those who wrote them did.

    Unlike the shards' checksums this notices a set that was rewritten as a whole:
    StaleArtifactError if they do not give the manifest's content digest. A replay
    store re-makes all its views. `progress` is called with (passes done, passes in
    all), the validation images' and every kept member's among them.
    """
    manifest = stored.manifest
    signals = [(), *((place,) for place in range(len(manifest.member_shards)))]
    blocks, done = [], 0
    total = (manifest.passes + 1) * len(signals)
    for pass_index in (*range(manifest.passes), VALIDATION_PASS):
        for number, signal in enumerate(signals):
            with stored.reading():
                read = stored.of(signal).whole_blocks(pass_index).as_numpy_iterator()
                for fields in read:
                    block = _as_written(fields, stored, data)
                    digest = block.digest(with_logits=not manifest.keep_members)
                    if number:
                        digest = block.member_digest(block.logits)
                    blocks.append((block.pass_index, block.block_index, number, digest))
            progress(done := done + 1, total)
    if content_digest(blocks) != manifest.content_digest:
        raise StaleArtifactError(
            f"field content_digest of distillation set {stored.path} is not that of "
            "its views and logits: they were rewritten; precompute again"
        )


def _as_written(
    fields: Mapping[str, np.ndarray], stored: DistillationSet, data: ImageData
) -> records.Block:
    """A block as its writer had it; validation images come from the data."""
    place = int(fields["pass_index"]), int(fields["block_index"])
    pixels = fields.get("image")
    if pixels is None:
        layout = stored.manifest.layout
        rows = layout.block_rows(layout.rows(VALIDATION_PASS), place[1])
        pixels = data.validation.read(rows)
    return records.Block(
        *place,
        sample_ids=fields["sample_id"],
        labels=fields["label"],
        seeds=np.empty(0),
        pixels=pixels,
        logits=fields["teacher_logits"],
        partner=fields.get("partner"),
        share=fields.get("share"),
        targets={
            each.name: fields[each.target.key]
            for each in stored.manifest.stored_targets
        },
    )


def _tolerances(manifest: Manifest, largest: Mapping[str, float]) -> dict[str, float]:
    """What a logit, and a value of each target, may differ by."""
    encodings = {"logit": manifest.logits_dtype}
    for target in manifest.stored_targets:
        encodings[f"value of {target.name}"] = target.encoding
    in_float32 = all(teacher["precision"] == "float32" for teacher in manifest.teachers)
    tolerances = {}
    for what, encoding in encodings.items():
        # Logits are of the order of 1; nobody knows of other values.
        scale = 1.0 if what == "logit" else max(1.0, largest[what])
        tolerance = FLOAT32_TOLERANCE * scale
        if not in_float32:
            tolerance = max(tolerance, HALF_PRECISION_TOLERANCE * largest[what])
        tolerances[what] = tolerance + ENCODINGS[encoding].step * largest[what]
    return tolerances
