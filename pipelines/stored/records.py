"""The tf.Example schemas of a distillation set: a record holds one block of views.

A view record carries pixels or seeds and the teacher's logits; where members are
kept, a second file has a record of one member's logits for each of them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from pipelines.stored.stores import STORES
from pipelines.stored.targets import ENCODINGS, StoredTarget

SCOPE = "stored_record"  # by which an error in the graph tells where it was


@dataclass(frozen=True)
class Block:
    """Consecutive views of one pass, scored together.

    sample_ids, labels, seeds: int64 [B]; pixels: uint8 [B, H, W, C]; logits:
    float32 [B, K]. Of mixed views also partner int64 [B] and share float32 [B], see
    `views.view.Mixed`. targets: what is kept beside the logits, [B, ...] by name.
    """

    pass_index: int
    block_index: int
    sample_ids: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray
    pixels: np.ndarray
    logits: np.ndarray
    partner: np.ndarray | None = None
    share: np.ndarray | None = None
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)

    def digest(self, *, with_logits: bool = True) -> str:
        """Hex sha256 of all that a student sees, the same for both stores.

        Without logits it stays the same when members join the set.
        """
        digest = hashlib.sha256()
        digest.update(np.array([self.pass_index, self.block_index], "<i8").tobytes())
        digest.update(self.sample_ids.astype("<i8").tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update(np.ascontiguousarray(self.pixels).data)
        if with_logits:
            digest.update(self.logits.astype("<f4").tobytes())
        if self.partner is not None:
            digest.update(self.partner.astype("<i8").tobytes())
            digest.update(self.share.astype("<f4").tobytes())
        for name, values in sorted(self.targets.items()):
            digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
            digest.update(values.tobytes())
        return digest.hexdigest()

    def member_digest(self, logits: np.ndarray) -> str:
        """Hex sha256 of one member's logits, float32 [B, K], for these views."""
        digest = hashlib.sha256(f"{self.pass_index} {self.block_index}\n".encode())
        digest.update(logits.astype("<f4").tobytes())
        return digest.hexdigest()


def pixel_fingerprint(pixels: tf.Tensor) -> tf.Tensor:
    """FarmHash64 of a block's pixels: uint8 [B, H, W, C] -> uint8 [8].

    Not cryptographic: it notices views that were re-made differently, cheaply and
    inside the graph. Damage on disk is what the shards' sha256 is for.
    """
    return tf.fingerprint(tf.reshape(pixels, [1, -1]))[0]


def encode(
    block: Block,
    *,
    store: str,
    logits_dtype: str = "float32",
    targets: Sequence[StoredTarget] = (),
) -> bytes:
    """The serialized tf.Example of a block.

    Args:
        block: the views.
        store: how pixels are kept, a name in `stores.STORES`.
        logits_dtype: how logits are kept, a name in `targets.ENCODINGS`.
        targets: how `block.targets` are kept.
    """
    features = {
        **_common(block, block.logits, logits_dtype),
        "sample_ids": _ints(block.sample_ids),
        "labels": _ints(block.labels),
    }
    for name, value in STORES[store].encode(block).items():
        kind = STORES[store].features[name]
        features[name] = _bytes(value) if kind is bytes else _ints(value)
    if block.partner is not None:
        features["partner"] = _ints(block.partner)
        features["share"] = _bytes(block.share.astype("<f4").tobytes())
    for target in targets:
        values = block.targets[target.name]
        features[target.name] = _bytes(ENCODINGS[target.encoding].encode(values))
    return _serialized(features)


def encode_member(block: Block, logits: np.ndarray, *, logits_dtype: str) -> bytes:
    """The serialized tf.Example of one member's logits, float32 [B, K], for a block."""
    return _serialized(_common(block, logits, logits_dtype))


def decode(
    serialized: tf.Tensor,
    *,
    store: str,
    image_shape: tuple[int, ...],
    num_classes: int,
    logits_dtype: str = "float32",
    mixed: bool = False,
    targets: Sequence[StoredTarget] = (),
) -> dict[str, tf.Tensor]:
    """Reads one record of views inside a tf.data pipeline.

    Returns:
        What `decode_member` does, sample_id and label int64 [B], what `store` gives:
        image uint8 [B, H, W, C] or seeds int64 [B]; of `mixed` views partner int64 [B]
        and share float32 [B]; and the targets by their names in a batch.
    """
    schema = {**_COMMON, "sample_ids": _list(), "labels": _list()}
    for name, kind in STORES[store].features.items():
        schema[name] = _STRING if kind is bytes else _list()
    if mixed:
        schema |= {"partner": _list(), "share": _STRING}
    schema |= {target.name: _STRING for target in targets}
    with tf.name_scope(SCOPE):
        example = tf.io.parse_single_example(serialized, schema)
        fields = {
            **_read_common(example, num_classes, logits_dtype),
            "sample_id": example["sample_ids"],
            "label": example["labels"],
        }
        fields |= STORES[store].decode(example, image_shape)
        if mixed:
            share = tf.io.decode_raw(example["share"], tf.float32, little_endian=True)
            fields |= {"partner": example["partner"], "share": share}
        for target in targets:
            content, encoding = example[target.name], ENCODINGS[target.encoding]
            fields[target.target.key] = encoding.decode(content, target.shape)
        views = tf.shape(fields["teacher_logits"])[0]
        for name in sorted(fields.keys() - _OF_BLOCK):
            same = tf.debugging.assert_equal(tf.shape(fields[name])[0], views)
            with tf.control_dependencies([same]):
                fields[name] = tf.identity(fields[name])
        return fields


def decode_member(
    serialized: tf.Tensor, *, num_classes: int, logits_dtype: str
) -> dict[str, tf.Tensor]:
    """Reads one record of a member's logits inside a tf.data pipeline.

    Returns:
        pass_index and block_index int64 [], teacher_logits float32 [B, K],
        pixel_fingerprint uint8 [8].
    """
    with tf.name_scope(SCOPE):
        example = tf.io.parse_single_example(serialized, _COMMON)
        return _read_common(example, num_classes, logits_dtype)


def bytes_per_view(
    *,
    store: str,
    image_shape: tuple[int, ...],
    num_classes: int,
    logits_dtype: str = "float32",
    kept_members: int = 0,
    targets: Sequence[StoredTarget] = (),
) -> int:
    """An upper estimate of what one view takes on disk, in bytes."""
    logits = ENCODINGS[logits_dtype].bytes_per_view([num_classes])
    beside = [ENCODINGS[each.encoding].bytes_per_view(each.shape) for each in targets]
    kept = STORES[store].bytes_per_view(image_shape)
    return kept + logits * (1 + kept_members) + sum(beside) + 8


_STRING = tf.io.FixedLenFeature([], tf.string)
_COMMON = {
    "pass_index": tf.io.FixedLenFeature([], tf.int64),
    "block_index": tf.io.FixedLenFeature([], tf.int64),
    "logits": _STRING,
    "pixel_fingerprint": _STRING,
}
_OF_BLOCK = {"pass_index", "block_index", "pixel_fingerprint"}  # not of each view


def _common(
    block: Block, logits: np.ndarray, logits_dtype: str
) -> dict[str, tf.train.Feature]:
    fingerprint = pixel_fingerprint(tf.constant(block.pixels)).numpy()
    return {
        "pass_index": _ints([block.pass_index]),
        "block_index": _ints([block.block_index]),
        "logits": _bytes(ENCODINGS[logits_dtype].encode(logits)),
        "pixel_fingerprint": _bytes(fingerprint.tobytes()),
    }


def _read_common(
    example: dict[str, tf.Tensor], num_classes: int, logits_dtype: str
) -> dict[str, tf.Tensor]:
    logits = ENCODINGS[logits_dtype].decode(example["logits"], [num_classes])
    fingerprint = tf.io.decode_raw(example["pixel_fingerprint"], tf.uint8)
    return {
        "pass_index": example["pass_index"],
        "block_index": example["block_index"],
        "teacher_logits": logits,
        "pixel_fingerprint": tf.ensure_shape(fingerprint, [8]),
    }


def _serialized(features: dict[str, tf.train.Feature]) -> bytes:
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _ints(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _list() -> tf.io.FixedLenSequenceFeature:
    return tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
