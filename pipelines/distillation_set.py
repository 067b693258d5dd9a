"""Reads a distillation set: checks its manifest and shards, then yields batches."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import digest_of
from kerasdistill.recipes.base import Augmentation
from pipelines import augment, datasets, records
from pipelines.datasets import ImageData
from pipelines.integrity import check_shards, data_fields, read_manifest, require
from pipelines.layout import VALIDATION_PASS
from pipelines.manifest import Manifest

_READ_AHEAD_BYTES = 8 << 20


def open(  # noqa: A001 (the set is opened as distillation_set.open(path))
    path: str | os.PathLike[str],
    *,
    expect: Mapping[str, Any] | None = None,
    data: ImageData | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "DistillationSet":
    """Opens a finished distillation set after checking all of it.

    Args:
        path: the directory.
        expect: manifest fields that must have these values; nested fields that are
            not mentioned may be anything.
        data: the transfer set's data, which must be the one the set was made from.
            A replay store re-makes its views from it; without it, it is loaded by
            the name in the manifest.
        progress: called with (bytes hashed, bytes in all) after each shard.

    Raises:
        StaleArtifactError: a field differs, or a shard is missing, truncated,
            damaged or swapped; the message names it.
        UserError: there is no finished set.
    """
    path = Path(path)
    manifest = read_manifest(path)
    require(path, manifest, dict(expect or {}))
    if data is None and manifest.store == "replay":
        data = datasets.load(
            manifest.dataset["name"], split_seed=manifest.dataset["split_seed"]
        )
    if data is not None:
        require(path, manifest, data_fields(data))
    check_shards(path, manifest.shards, progress)
    opened = DistillationSet(path, manifest, data)
    if manifest.store == "replay":
        opened.check_replay()
    return opened


class DistillationSet:
    """A checked set on disk; make one with `open`."""

    def __init__(self, path: Path, manifest: Manifest, data: ImageData | None) -> None:
        self.path = path
        self.manifest = manifest
        self._data = data

    def shards_digest(self, passes: int) -> str:
        """Hex sha256 over the checksums of the first passes' shards.

        Unlike the manifest's content digest it does not change when passes are
        added. UserError if the set has fewer.
        """
        chosen = self._passes(0, passes)
        layout = self.manifest.layout
        names = {layout.shard_name(*s) for p in chosen for s in layout.shards_of(p)}
        found = [s.sha256 for s in self.manifest.shards if s.name in names]
        return digest_of(found)

    def steps_per_pass(self, batch_size: int) -> int:
        """Batches in one pass; the last may be short."""
        if batch_size < 1:
            raise UserError(f"batch size is {batch_size}, expected at least 1")
        return -(-self.manifest.layout.num_samples // batch_size)

    def dataset(
        self,
        batch_size: int,
        *,
        first_pass: int = 0,
        passes: int | None = None,
    ) -> tf.data.Dataset:
        """Batches in the stored order; each pass starts a new batch.

        So an epoch of one pass is the same whatever came before it; the last batch
        of a pass may be short. Both stores yield the same tensors.

        Args:
            batch_size: views in a batch.
            first_pass: pass to begin with.
            passes: how many passes (None: up to the last).

        Returns:
            Batches of image uint8 [B, H, W, C], teacher_logits float32 [B, K],
            label int64 [B] and sample_id int64 [B].
        """
        steps = self.steps_per_pass(batch_size)
        chosen = self._passes(first_pass, passes)
        layout = self.manifest.layout
        files = [
            str(self.path / layout.shard_name(index, number))
            for index in chosen
            for number in range(len(layout.shards_of(index)))
        ]
        blocks = self._blocks(tf.data.Dataset.from_tensor_slices(files))
        full, rest = divmod(layout.num_samples, batch_size)
        sizes = [batch_size] * full + [rest] * (rest > 0)
        # Sizes are used in turn, so the short one falls on the end of every pass.
        batches = blocks.rebatch(np.array(sizes, np.int64))
        return batches.apply(
            tf.data.experimental.assert_cardinality(steps * len(chosen))
        ).prefetch(tf.data.AUTOTUNE)

    def validation_logits(self) -> np.ndarray:
        """The teacher's logits of the validation images, in the data set's order.

        Returns:
            float32 [validation images, K].
        """
        shards = self.manifest.layout.shards_of(VALIDATION_PASS)
        names = [str(self.path / self.manifest.layout.shard_name(*s)) for s in shards]
        blocks = self._decoded(tf.data.Dataset.from_tensor_slices(names), "replay")
        logits = [block["teacher_logits"] for block in blocks.as_numpy_iterator()]
        return np.concatenate([np.empty((0, self.manifest.num_classes), "f4"), *logits])

    def check_replay(self) -> None:
        """Re-makes the first block; StaleArtifactError if its pixels differ."""
        first = self.manifest.shards[0].name
        names = tf.data.Dataset.from_tensors(str(self.path / first))
        with self.reading():
            next(iter(self._blocks(names)))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turns a replay that fails inside TensorFlow's graph into our own error."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            if "pixel_fingerprint" not in str(error):
                raise
            raise StaleArtifactError(
                f"distillation set {self.path} cannot be replayed: views re-made from "
                "their seeds differ from those the teacher scored (field "
                "pixel_fingerprint); the augmentation or its code differs: precompute "
                "again, or use the images store"
            ) from error

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
                f"{stored}; ask for fewer, or precompute more with --passes"
            )
        return range(first, last)

    def _blocks(self, names: tf.data.Dataset) -> tf.data.Dataset:
        view = _stored if self.manifest.store == "images" else self._replayer()
        return self._decoded(names, self.manifest.store, view)

    def _decoded(
        self,
        names: tf.data.Dataset,
        store: str,
        then: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]] = dict,
    ) -> tf.data.Dataset:
        serialized = tf.data.TFRecordDataset(names, buffer_size=_READ_AHEAD_BYTES)
        decode = functools.partial(
            records.decode,
            store=store,
            image_shape=self.manifest.image_shape,
            num_classes=self.manifest.num_classes,
        )
        return serialized.map(
            lambda record: then(decode(record)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _replayer(self) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
        manifest, train = self.manifest, self._data.train
        if manifest.augmentation_code_version != augment.CODE_VERSION:
            raise StaleArtifactError(
                f"distillation set {self.path}: field augmentation_code_version is "
                f"{manifest.augmentation_code_version}, this version has "
                f"{augment.CODE_VERSION}; precompute again, or use the images store"
            )
        try:
            augmentation = Augmentation(**manifest.augmentation)
        except TypeError as error:
            raise StaleArtifactError(
                f"distillation set {self.path}: field augmentation is damaged ({error})"
            ) from error
        with tf.device("CPU:0"):
            images = tf.constant(train.images)
            order = tf.constant(np.argsort(train.sample_ids))
            sorted_ids = tf.gather(tf.constant(train.sample_ids), order)

        def replay(fields: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            rows = tf.gather(order, tf.searchsorted(sorted_ids, fields["sample_id"]))
            pixels = make_views(
                tf.gather(images, rows),
                fields["seeds"],
                augmentation=augmentation,
                block_views=manifest.block_views,
            )
            same = tf.reduce_all(
                records.pixel_fingerprint(pixels) == fields["pixel_fingerprint"]
            )
            message = (
                f"distillation set {self.path}: the views of this (pass, block), "
                "re-made from their seeds, differ from those the teacher scored "
                "(field pixel_fingerprint); precompute again"
            )
            where = [fields["pass_index"], fields["block_index"]]
            with tf.control_dependencies([tf.Assert(same, [message, *where])]):
                return _stored({**fields, "image": tf.identity(pixels)})

        return replay


def make_views(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    augmentation: Augmentation,
    block_views: int,
) -> tf.Tensor:
    """The views of one block: uint8 [N, H, W, C], N <= block_views.

    Writer and reader both pad to the full block by repeating the first view, so
    that the compiled augmentation meets one shape and gives the same bits.
    """
    count = tf.shape(images)[0]

    def padded(values: tf.Tensor) -> tf.Tensor:
        places = tf.range(block_views)
        filled = tf.gather(values, tf.where(places < count, places, 0))
        return tf.ensure_shape(filled, [block_views, *values.shape[1:]])

    made = augment.views(padded(images), padded(seeds), augmentation=augmentation)
    return tf.gather(made, tf.range(count))


def _stored(fields: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    names = ("image", "teacher_logits", "label", "sample_id")
    return {name: fields[name] for name in names}
