"""The tf.Example schemas of a distillation set: a record holds one block of views.

A view record carries pixels or seeds and the teacher's logits; where members are
kept, a second file has a record of one member's logits for each of them.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

SCOPE = "stored_record"  # by which an error in the graph tells where it was


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
        return digest.hexdigest()

    def member_digest(self, logits: np.ndarray) -> str:
        """Hex sha256 of one member's logits, float32 [B, K], for these views."""
        digest = hashlib.sha256(f"{self.pass_index} {self.block_index}\n".encode())
        digest.update(logits.astype("<f4").tobytes())
        return digest.hexdigest()


def as_stored(logits: np.ndarray, dtype: str) -> np.ndarray:
    """float32 logits with the values that `dtype` can hold, still float32."""
    with np.errstate(over="ignore"):  # the caller refuses what is not finite
        return logits.astype(dtype).astype(np.float32)


def pixel_fingerprint(pixels: tf.Tensor) -> tf.Tensor:
    """FarmHash64 of a block's pixels: uint8 [B, H, W, C] -> uint8 [8].

    Not cryptographic: it notices views that were re-made differently, cheaply and
    inside the graph. Damage on disk is what the shards' sha256 is for.
    """
    return tf.fingerprint(tf.reshape(pixels, [1, -1]))[0]


def encode(block: Block, *, store: str, logits_dtype: str = "float32") -> bytes:
    """The serialized tf.Example of a block.

    Args:
        block: the views.
        store: "images" keeps the pixels, "replay" the seeds that re-make them.
        logits_dtype: float32 or float16.
    """
    features = {
        **_common(block, block.logits, logits_dtype),
        "sample_ids": _ints(block.sample_ids),
        "labels": _ints(block.labels),
    }
    if store == "images":
        features["image"] = _bytes(np.ascontiguousarray(block.pixels).tobytes())
    else:
        features["seeds"] = _ints(block.seeds)
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
) -> dict[str, tf.Tensor]:
    """Reads one record of views inside a tf.data pipeline.

    Returns:
        What `decode_member` does, sample_id and label int64 [B], and either image
        uint8 [B, H, W, C] or seeds int64 [B].
    """
    schema = {**_COMMON, "sample_ids": _list(), "labels": _list()}
    if store == "images":
        schema["image"] = tf.io.FixedLenFeature([], tf.string)
    else:
        schema["seeds"] = _list()
    with tf.name_scope(SCOPE):
        example = tf.io.parse_single_example(serialized, schema)
        fields = {
            **_read_common(example, num_classes, logits_dtype),
            "sample_id": example["sample_ids"],
            "label": example["labels"],
        }
        if store == "images":
            pixels = tf.io.decode_raw(example["image"], tf.uint8)
            fields["image"] = tf.reshape(pixels, [-1, *image_shape])
        else:
            fields["seeds"] = example["seeds"]
        views = tf.shape(fields["teacher_logits"])[0]
        for name in ("sample_id", "label", "image", "seeds"):
            if name in fields:
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
) -> int:
    """An upper estimate of what one view takes on disk, in bytes."""
    kept = int(np.prod(image_shape)) if store == "images" else 10  # a seed's varint
    signals = np.dtype(logits_dtype).itemsize * num_classes * (1 + kept_members)
    return kept + signals + 8


_COMMON = {
    "pass_index": tf.io.FixedLenFeature([], tf.int64),
    "block_index": tf.io.FixedLenFeature([], tf.int64),
    "logits": tf.io.FixedLenFeature([], tf.string),
    "pixel_fingerprint": tf.io.FixedLenFeature([], tf.string),
}


def _common(
    block: Block, logits: np.ndarray, logits_dtype: str
) -> dict[str, tf.train.Feature]:
    little_endian = np.dtype(logits_dtype).newbyteorder("<")
    fingerprint = pixel_fingerprint(tf.constant(block.pixels)).numpy()
    return {
        "pass_index": _ints([block.pass_index]),
        "block_index": _ints([block.block_index]),
        "logits": _bytes(logits.astype(little_endian).tobytes()),
        "pixel_fingerprint": _bytes(fingerprint.tobytes()),
    }


def _read_common(
    example: dict[str, tf.Tensor], num_classes: int, logits_dtype: str
) -> dict[str, tf.Tensor]:
    logits = tf.io.decode_raw(example["logits"], logits_dtype, little_endian=True)
    fingerprint = tf.io.decode_raw(example["pixel_fingerprint"], tf.uint8)
    logits = tf.cast(tf.reshape(logits, [-1, num_classes]), tf.float32)
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
