"""Reads a distillation set: checks its manifest and shards, then yields batches."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.files import digest_of
from pipelines import datasets
from pipelines.datasets import ImageData
from pipelines.stored import graph_errors, integrity, records
from pipelines.stored.averaging import AVERAGINGS
from pipelines.stored.layout import AVERAGING, VALIDATION_PASS, member_name
from pipelines.stored.manifest import Manifest
from pipelines.stored.replay import augmentation_of, replayer
from pipelines.stored.stores import WITHOUT_PIXELS
from pipelines.views import augment
from pipelines.views.view import Fields, Tensors, with_partner_labels

_READ_AHEAD_BYTES = 8 << 20


def batch_sizes(count: int, batch_size: int) -> np.ndarray:
    """int64: sizes, used in turn, that put a pass's short batch at its end."""
    full, rest = divmod(count, batch_size)
    return np.array([batch_size] * full + [rest] * (rest > 0), np.int64)


def open(  # noqa: A001 (the set is opened as distillation_set.open(path))
    path: str | os.PathLike[str],
    *,
    members: Sequence[int] | None = None,
    averaging: str = AVERAGING,
    expect: Mapping[str, Any] | None = None,
    data: ImageData | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "DistillationSet":
    """Opens a finished distillation set after checking all of it.

    Args:
        members: whose logits to average, numbered from 1 in the manifest's order
            (None: all); other than all needs a set that keeps members.
        averaging: a name in `averaging.AVERAGINGS`; other than the mean of logits
            needs kept members too.
        expect: manifest fields that must have these values; nested fields that are
            not mentioned may be anything.
        data: what the set was made from. Some stores re-make their views from it;
            without it, it is loaded by the name in the manifest.
        progress: called with (bytes hashed, bytes in all) after each shard.

    Raises:
        StaleArtifactError: a field differs, or a shard is missing, truncated,
            damaged or swapped; the message names it.
        UserError: there is no finished set, or it lacks these members.
    """
    path = Path(path)
    manifest = integrity.read_manifest(path)
    chosen = integrity.chosen_members(path, manifest, members, averaging)
    integrity.require(path, manifest, dict(expect or {}))
    if data is None and manifest.needs_data:
        data = datasets.load(
            manifest.dataset["name"],
            split_seed=manifest.dataset["split_seed"],
            class_names=manifest.class_names,
            image_shape=manifest.image_shape,
            drop_duplicates=manifest.dataset.get("drop_duplicates", False),
        )
    if data is not None:
        integrity.require(path, manifest, integrity.data_fields(data))
    opened = DistillationSet(path, manifest, data, chosen, averaging)
    opened = replace(opened, stamps=opened.check_shards(progress))
    if manifest.needs_data:
        next(opened.blocks({(0, 0)}))  # differs if views are made in another way now
    return opened


@dataclass(eq=False, repr=False)
class DistillationSet:
    """A checked set on disk; make one with `open`.

    `members` are the places, from 0, of the teachers whose kept logits are averaged
    on reading; without any, the logits beside the views are read. `stamps` are what
    the files were like when they were checked.
    """

    path: Path
    manifest: Manifest
    data: ImageData | None
    members: tuple[int, ...] = ()
    averaging: str = AVERAGING
    stamps: integrity.Stamps = field(default_factory=dict)

    def __post_init__(self) -> None:
        augmentation_of(self.path, self.manifest)  # refuses one that is damaged

    def __repr__(self) -> str:
        return f"<DistillationSet {str(self.path)!r}: {self.manifest.in_short()}>"

    @property
    def _mixed(self) -> bool:
        return augment.mixes(augmentation_of(self.path, self.manifest))

    @property
    def labelled(self) -> bool:
        """Whether the transfer set has labels; else they are all -1."""
        return self.manifest.shards[0].teacher_label_agreement is not None

    def shards_digest(self, passes: int) -> str:
        """Hex sha256 over the checksums of the first passes' shards.

        Unlike the manifest's content digest it does not change when passes are
        added. UserError if the set has fewer.
        """
        chosen = self._passes(0, passes)
        count = len(chosen) * len(self.manifest.layout.shards_of(0))
        kept = (self.manifest.member_shards[place] for place in self.members)
        signals = (self.manifest.shards, *kept)
        digests = [shard.sha256 for shards in signals for shard in shards[:count]]
        if self.averaging != AVERAGING:
            digests.append(self.averaging)
        return digest_of(digests)

    def steps_per_pass(self, batch_size: int) -> int:
        """Batches in one pass; the last may be short."""
        if batch_size < 1:
            raise UserError(f"batch size is {batch_size}, expected at least 1")
        return -(-self.manifest.layout.num_samples // batch_size)

    def dataset(
        self, batch_size: int, *, first_pass: int = 0, passes: int | None = None
    ) -> tf.data.Dataset:
        """Batches in the stored order; each pass starts a new batch.

        So an epoch of one pass is the same whatever came before it; the last batch
        of a pass may be short. All stores yield the same tensors. Without `passes` it
        goes on to the last pass.

        Returns:
            Batches of image uint8 [B, H, W, C], teacher_logits float32 [B, K],
            label int64 [B] and sample_id int64 [B]; of views that mix two images also
            partner_label int64 [B], the other's, and share float32 [B], the weight of
            the label; and of targets beside the logits float32 [B, ...] by their keys.
        """
        steps = self.steps_per_pass(batch_size)
        chosen = self._passes(first_pass, passes)
        layout = self.manifest.layout
        shards = [shard for index in chosen for shard in layout.shards_of(index)]
        sizes = batch_sizes(layout.num_samples, batch_size)
        batches = self._decoded(shards, self.replayer()).rebatch(sizes)
        counted = tf.data.experimental.assert_cardinality(steps * len(chosen))
        return batches.apply(counted).prefetch(tf.data.AUTOTUNE)

    def pass_records(self, pass_index: int) -> tf.data.Dataset:
        """A pass's blocks as they lie on disk, in order; see `records.decode`."""
        return self._decoded(self.manifest.layout.shards_of(pass_index))

    def validation_logits(self) -> np.ndarray:
        """The teacher's logits of the validation images, in the data set's order:
        float32 [validation images, K]."""
        blocks = self.pass_records(VALIDATION_PASS).as_numpy_iterator()
        logits = [block["teacher_logits"] for block in blocks]
        return np.concatenate([np.empty((0, self.manifest.num_classes), "f4"), *logits])

    def of(self, members: tuple[int, ...]) -> "DistillationSet":
        """The same set with the mean logits of these members, places from 0 (none: the
        stored mean)."""
        return replace(self, members=members, averaging=AVERAGING)

    def blocks(self, chosen: Set[tuple[int, int]]) -> Iterator[dict[str, np.ndarray]]:
        """Blocks by (pass, block), the fields of a batch each, in the stored order;
        those between them are not decoded."""
        layout = self.manifest.layout
        shards = sorted({(p, n // layout.blocks_per_shard) for p, n in chosen})
        wanted = [
            (shard[0], block) in chosen
            for shard in shards
            for block in layout.shard_blocks(*shard)
        ]
        blocks = self._decoded(shards, self.replayer(), wanted)
        with self.reading():
            yield from blocks.as_numpy_iterator()

    def check_shards(
        self, progress: Callable[[int, int], None] | None = None
    ) -> integrity.Stamps:
        """StaleArtifactError if a file that is read is not the one in the manifest."""
        kept = [s for place in self.members for s in self.manifest.member_shards[place]]
        shards = (*self.manifest.shards, *kept)
        return integrity.check_shards(self.path, shards, progress)

    def check_unchanged(self) -> None:
        """StaleArtifactError if what was read, files that are opened by their names,
        may have been another than what was checked."""
        integrity.check_unchanged(self.path, self.stamps)

    def whole_blocks(self, pass_index: int) -> tf.data.Dataset:
        """As `pass_records`, with the image too but for the validation pass."""
        then = dict if pass_index == VALIDATION_PASS else self._with_image()
        return self._decoded(self.manifest.layout.shards_of(pass_index), then)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Turns a check that fails inside TensorFlow's graph into our own error, and
        ends with `check_unchanged`."""
        how = {"check": self.check_shards, "unchanged": self.check_unchanged}
        return graph_errors.translated(self.path, **how)

    def _passes(self, first: int, count: int | None) -> range:
        stored = self.manifest.passes
        if not 0 <= first < stored:
            raise UserError(
                f"first_pass {first} is not among the {stored} passes of {self.path}"
            )
        last = stored if count is None else first + count
        if not first < last <= stored:
            raise UserError(
                f"{count} passes from {first} asked of {self.path}, which has "
                f"{stored}; ask for fewer, or precompute more with `passes`"
            )
        return range(first, last)

    def replayer(self) -> Fields:
        """What turns a decoded record into a batch. It makes views again on the CPU,
        whose bits the fingerprints are of; see `reading` for its errors."""
        with_image = self._with_image()
        names = ["image", "teacher_logits", "label", "sample_id"]
        names += ["partner_label", "share"] * self._mixed
        names += [each.target.key for each in self.manifest.stored_targets]

        def for_students(fields: Tensors) -> Tensors:
            whole = with_partner_labels(with_image(fields))
            return {name: whole[name] for name in names}

        return for_students

    def _with_image(self) -> Fields:
        if not self.manifest.needs_data:
            return dict
        return replayer(self.path, self.manifest, self.data.train)

    def _decoded(
        self,
        shards: Sequence[tuple[int, int]],
        then: Fields = dict,
        wanted: Sequence[bool] | None = None,
    ) -> tf.data.Dataset:
        """The blocks of these shards, or those wanted, with the mean of the chosen
        logits."""
        manifest = self.manifest
        names = [manifest.layout.shard_name(*shard) for shard in shards]
        views = {"store": manifest.store, "mixed": self._mixed}
        if VALIDATION_PASS in dict(shards):
            views = {"store": WITHOUT_PIXELS, "mixed": False}
        views |= {
            "image_shape": manifest.image_shape,
            "targets": manifest.stored_targets,
        }
        logits = {
            "num_classes": manifest.num_classes,
            "logits_dtype": manifest.logits_dtype,
        }

        def read(names: Sequence[str]) -> tf.data.Dataset:
            paths = tf.constant([str(self.path / name) for name in names], tf.string)
            return tf.data.TFRecordDataset(paths, buffer_size=_READ_AHEAD_BYTES)

        def decode(record: tf.Tensor, *members: tf.Tensor) -> Tensors:
            fields = records.decode(record, **views, **logits)
            if members:
                kept = [records.decode_member(each, **logits) for each in members]
                fields["teacher_logits"] = self._averaged(fields, kept)
            return then(fields)

        digests = [manifest.teachers[place]["weights_digest"] for place in self.members]
        kept = [[member_name(name, digest) for name in names] for digest in digests]
        stored = tf.data.Dataset.zip(*map(read, (names, *kept)))
        if wanted is not None:
            marks = tf.data.Dataset.from_tensor_slices(wanted)
            marked = tf.data.Dataset.zip(stored, marks).filter(lambda *each: each[-1])
            stored = marked.map(lambda each, _: each)
        how = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
        return stored.map(decode, **how)

    def _averaged(self, fields: Tensors, kept: Sequence[Tensors]) -> tf.Tensor:
        """The members' logits in one, sure to be of the very views in `fields`."""
        same = [
            tf.reduce_all(each[name] == fields[name])
            for each in kept
            for name in ("pass_index", "block_index", "pixel_fingerprint")
        ]
        message = f"distillation set {self.path}: a member's {graph_errors.OTHER_VIEWS}"
        with tf.control_dependencies([tf.Assert(tf.reduce_all(same), [message])]):
            logits = [tf.identity(each["teacher_logits"]) for each in kept]
        mean = AVERAGINGS[self.averaging](logits)
        return tf.cast(tf.cast(mean, self.manifest.logits_dtype), tf.float32)
