"""Does a distillation set still say what its teachers say? A sample, scored again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    """Scores randomly chosen blocks again, on the pixels that are stored.

    Args:
        stored: an opened set, its checksums checked.
        teachers: by their places, from 0, in the manifest: all of them.
        sample: at least so many views are scored (or all, if there are fewer).
        seed: chooses the blocks.
        progress: called with (views done, views in all) after each block.

    Raises:
        UserError: a logit differs by more than the tolerance: 1e-4 where teachers
            score in float32; in half precision 2 % of the largest logit, because
            another machine may round otherwise (the same one does not).
    """
    manifest = stored.manifest
    layout = manifest.layout
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
    members = tuple(range(len(manifest.member_shards)))
    views, worst, largest = 0, Counter(), Counter()
    for place in order:
        if views >= sample:
            break
        where = divmod(int(place), per_pass)
        signals = [(), *((member,) for member in members)]
        blocks = [stored.of(signal).block(*where) for signal in signals]
        again = scorer.scores(blocks[0]["image"], members)
        pairs = {"logit": (_logits(blocks), np.stack([again.logits, *again.members]))}
        for each in manifest.stored_targets:
            values = again.targets[each.name]
            pairs[f"value of {each.name}"] = (blocks[0][each.target.key], values)
        for what, (told, scored) in pairs.items():
            # Unlike max, this keeps a NaN, which then is not within the tolerance.
            worst[what] = float(np.maximum(worst[what], np.abs(told - scored).max()))
            largest[what] = max(largest[what], float(np.abs(told).max()))
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

    Unlike the shards' checksums this notices a set that was rewritten as a whole. A
    replay store re-makes all its views.

    Args:
        stored: an opened set.
        data: what it was made from.
        progress: called with (passes done, passes in all), the validation images'
            and every kept member's among them.

    Raises:
        StaleArtifactError: they are not those of the manifest's content digest.
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


def _logits(blocks: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """float32 [signals, B, K]: the stored mean, then every kept member's."""
    return np.stack([block["teacher_logits"] for block in blocks])


def _tolerances(manifest: Manifest, largest: Mapping[str, float]) -> dict[str, float]:
    """What a logit, and a value of each target, may differ by."""
    steps = {"logit": ENCODINGS[manifest.logits_dtype].step}
    for target in manifest.stored_targets:
        steps[f"value of {target.name}"] = ENCODINGS[target.encoding].step
    in_float32 = all(teacher["precision"] == "float32" for teacher in manifest.teachers)
    found = {}
    for what, step in steps.items():
        # Logits are of the order of 1; nobody knows of other values.
        scale = 1.0 if what == "logit" else max(1.0, largest[what])
        found[what] = FLOAT32_TOLERANCE * scale
        if not in_float32:
            found[what] = max(found[what], HALF_PRECISION_TOLERANCE * largest[what])
        found[what] += step * largest[what]
    return found
