"""The tf.Example schemas of a distillation set: a record holds one block of views.

A view record carries pixels or seeds and the teacher's logits; where members are
kept, a second file has a record of one member's logits for each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.files import sha256_bytes
from pipelines.stored.stores import STORES
from pipelines.stored.targets import ENCODINGS, StoredTarget
from pipelines.views.view import Tensors

SCOPE = "stored_record"  # in the graph: its errors name it


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
        parts = [
            np.array([self.pass_index, self.block_index], "<i8"),
            self.sample_ids.astype("<i8"),
            self.labels.astype("<i8"),
            self.pixels,
        ]
        if with_logits:
            parts.append(self.logits.astype("<f4"))
        if self.partner is not None:
            parts += [self.partner.astype("<i8"), self.share.astype("<f4")]
        content = [part.tobytes() for part in parts]
        for name, values in sorted(self.targets.items()):
            head = f"{name} {values.dtype} {values.shape}\n"
            content += [head.encode(), values.tobytes()]
        return sha256_bytes(b"".join(content))

    def member_digest(self, logits: np.ndarray) -> str:
        """Hex sha256 of one member's logits, float32 [B, K], for these views."""
        head = f"{self.pass_index} {self.block_index}\n"
        return sha256_bytes(head.encode() + logits.astype("<f4").tobytes())


def pixel_fingerprint(pixels: tf.Tensor) -> tf.Tensor:
    """FarmHash64 of a block's pixels: uint8 [B, H, W, C] -> uint8 [8].

    Not cryptographic: it notices, in the graph, views that were re-made differently.
    """
    return tf.fingerprint(tf.reshape(pixels, [1, -1]))[0]


def encode(
    block: Block,
    *,
    store: str,
    logits_dtype: str = "float32",
    targets: Sequence[StoredTarget] = (),
) -> bytes:
    """The serialized tf.Example of a block, whose targets are kept as `targets` say."""
    fields = {
        **_common(block, block.logits, logits_dtype),
        "sample_ids": block.sample_ids,
        "labels": block.labels,
        **STORES[store].encode(block),
    }
    if block.partner is not None:
        fields["partner"] = block.partner
        fields["share"] = block.share.astype("<f4").tobytes()
    for each in targets:
        values = block.targets[each.name]
        fields[each.name] = ENCODINGS[each.encoding].encode(values)
    return serialized(fields)


def encode_member(block: Block, logits: np.ndarray, *, logits_dtype: str) -> bytes:
    """The serialized tf.Example of one member's logits, float32 [B, K], for a block."""
    return serialized(_common(block, logits, logits_dtype))


def serialized(fields: Mapping[str, bytes | Sequence[int]]) -> bytes:
    """A tf.Example of these fields, the same bytes every time."""
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        for name, value in fields.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode(
    record: tf.Tensor,
    *,
    store: str,
    image_shape: tuple[int, ...],
    num_classes: int,
    logits_dtype: str = "float32",
    mixed: bool = False,
    targets: Sequence[StoredTarget] = (),
) -> Tensors:
    """One record of views, in a graph: what `decode_member` gives, sample_id and label
    int64 [B], image uint8 [B, H, W, C] or seeds int64 [B] as `store` has it, partner
    int64 [B] and share float32 [B] if `mixed`, and the targets by their keys."""
    schema = {**_COMMON, "sample_ids": _INTS, "labels": _INTS}
    for name, kind in STORES[store].features.items():
        schema[name] = _BYTES if kind is bytes else _INTS
    if mixed:
        schema |= {"partner": _INTS, "share": _BYTES}
    schema |= {target.name: _BYTES for target in targets}
    with tf.name_scope(SCOPE):
        example = tf.io.parse_single_example(record, schema)
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


def decode_member(record: tf.Tensor, *, num_classes: int, logits_dtype: str) -> Tensors:
    """One record of a member's logits, in a graph: pass_index and block_index int64
    [], teacher_logits float32 [B, K], pixel_fingerprint uint8 [8]."""
    with tf.name_scope(SCOPE):
        example = tf.io.parse_single_example(record, _COMMON)
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


_BYTES = tf.io.FixedLenFeature([], tf.string)
_INTS = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
_COMMON = {
    "pass_index": tf.io.FixedLenFeature([], tf.int64),
    "block_index": tf.io.FixedLenFeature([], tf.int64),
    "logits": _BYTES,
    "pixel_fingerprint": _BYTES,
}
_OF_BLOCK = {"pass_index", "block_index", "pixel_fingerprint"}  # not of each view


def _common(block: Block, logits: np.ndarray, logits_dtype: str) -> dict[str, Any]:
    fingerprint = pixel_fingerprint(tf.constant(block.pixels)).numpy()
    return {
        "pass_index": [block.pass_index],
        "block_index": [block.block_index],
        "logits": ENCODINGS[logits_dtype].encode(logits),
        "pixel_fingerprint": fingerprint.tobytes(),
    }


def _read_common(example: Tensors, num_classes: int, logits_dtype: str) -> Tensors:
    logits = ENCODINGS[logits_dtype].decode(example["logits"], [num_classes])
    fingerprint = tf.io.decode_raw(example["pixel_fingerprint"], tf.uint8)
    return {
        "pass_index": example["pass_index"],
        "block_index": example["block_index"],
        "teacher_logits": logits,
        "pixel_fingerprint": tf.ensure_shape(fingerprint, [8]),
    }
