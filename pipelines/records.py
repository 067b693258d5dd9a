"""The tf.Example schema of a distillation set: one record holds one block of views."""

import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Block:
    """Consecutive views of one pass, scored together.

    sample_ids, labels, seeds: int64 [B]; pixels: uint8 [B, H, W, C]; logits:
    float32 [B, K].
    """

    pass_index: int
    block_index: int
    sample_ids: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray
    pixels: np.ndarray
    logits: np.ndarray

    def digest(self) -> str:
        """Hex sha256 of all that a student sees, the same for both stores."""
        digest = hashlib.sha256()
        digest.update(np.array([self.pass_index, self.block_index], "<i8").tobytes())
        digest.update(self.sample_ids.astype("<i8").tobytes())
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(self.logits.astype("<f4").tobytes())
        return digest.hexdigest()


def pixel_fingerprint(pixels: tf.Tensor) -> tf.Tensor:
    """FarmHash64 of a block's pixels: uint8 [B, H, W, C] -> uint8 [8].

    Not cryptographic: it notices views that were re-made differently, cheaply and
    inside the graph. Damage on disk is what the shards' sha256 is for.
    """
    return tf.fingerprint(tf.reshape(pixels, [1, -1]))[0]


def encode(block: Block, *, store: str) -> bytes:
    """The serialized tf.Example of a block.

    Args:
        block: the views.
        store: "images" keeps the pixels, "replay" the seeds that re-make them.
    """
    fingerprint = pixel_fingerprint(tf.constant(block.pixels)).numpy()
    features = {
        "pass_index": _ints([block.pass_index]),
        "block_index": _ints([block.block_index]),
        "sample_ids": _ints(block.sample_ids),
        "labels": _ints(block.labels),
        "logits": _bytes(block.logits.astype("<f4").tobytes()),
        "pixel_fingerprint": _bytes(fingerprint.tobytes()),
        "digest": _bytes(bytes.fromhex(block.digest())),
    }
    if store == "images":
        features["image"] = _bytes(np.ascontiguousarray(block.pixels).tobytes())
    else:
        features["seeds"] = _ints(block.seeds)
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode(
    serialized: tf.Tensor, *, store: str, image_shape: tuple[int, ...], num_classes: int
) -> dict[str, tf.Tensor]:
    """Reads one record inside a tf.data pipeline.

    Returns:
        pass_index and block_index int64 [], sample_id and label int64 [B],
        teacher_logits float32 [B, K], pixel_fingerprint uint8 [8], digest bytes [],
        and either image uint8 [B, H, W, C] or seeds int64 [B].
    """
    schema = {
        "pass_index": tf.io.FixedLenFeature([], tf.int64),
        "block_index": tf.io.FixedLenFeature([], tf.int64),
        "sample_ids": _list(),
        "labels": _list(),
        "logits": tf.io.FixedLenFeature([], tf.string),
        "pixel_fingerprint": tf.io.FixedLenFeature([], tf.string),
        "digest": tf.io.FixedLenFeature([], tf.string),
    }
    if store == "images":
        schema["image"] = tf.io.FixedLenFeature([], tf.string)
    else:
        schema["seeds"] = _list()
    example = tf.io.parse_single_example(serialized, schema)
    logits = tf.io.decode_raw(example["logits"], tf.float32, little_endian=True)
    fingerprint = tf.io.decode_raw(example["pixel_fingerprint"], tf.uint8)
    fields = {
        "pass_index": example["pass_index"],
        "block_index": example["block_index"],
        "sample_id": example["sample_ids"],
        "label": example["labels"],
        "teacher_logits": tf.reshape(logits, [-1, num_classes]),
        "pixel_fingerprint": tf.ensure_shape(fingerprint, [8]),
        "digest": example["digest"],
    }
    if store == "images":
        pixels = tf.io.decode_raw(example["image"], tf.uint8)
        fields["image"] = tf.reshape(pixels, [-1, *image_shape])
    else:
        fields["seeds"] = example["seeds"]
    return fields


def bytes_per_view(
    *, store: str, image_shape: tuple[int, ...], num_classes: int
) -> int:
    """An upper estimate of what one view takes on disk, in bytes."""
    kept = int(np.prod(image_shape)) if store == "images" else 10  # a seed's varint
    return kept + 4 * num_classes + 8


def _ints(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _list() -> tf.io.FixedLenSequenceFeature:
    return tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
