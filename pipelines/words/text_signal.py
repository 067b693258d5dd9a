"""What teachers predict of every next word of a text, kept on disk: the largest K.

All 10,000 log-probabilities would be 40 kB a word; K of them with their ids are 4 K
bytes. What is left out is known as a sum: `losses.ban_of_largest` takes it for one
word more. A signal is a directory: shards of some streams each, whose record w is
window w, and a manifest, published last. It belongs to one text, cut one way, and
reading it costs no memory.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import digest_of, sha256_file, write_json_atomic
from kerasdistill.reading_files import read_bytes
from kerasdistill.training.epochs import EpochStream
from pipelines.stored import graph_errors, integrity
from pipelines.stored.integrity import SEAL, sealed
from pipelines.stored.layout import MANIFEST_NAME
from pipelines.stored.records import serialized
from pipelines.words import text

SCHEMA_VERSION = 1
STREAMS_PER_SHARD = 4


@dataclass(frozen=True)
class Request:
    """All that a signal depends on.

    dataset: `TextData.identity()`; teachers: digests of their weights, whose
    probabilities are averaged; top_k: words kept at every step.
    """

    dataset: dict[str, Any]
    teachers: tuple[str, ...]
    streams: int
    window: int
    windows: int
    top_k: int

    def __post_init__(self):
        if self.top_k > self.dataset["num_words"]:
            raise UserError(
                f"`top_k={self.top_k}` is more than the vocabulary's "
                f"{self.dataset['num_words']:,} words; give fewer"
            )

    @property
    def ids_dtype(self) -> np.dtype:
        """Little-endian whole numbers that can hold every id."""
        return np.dtype("<u2" if self.dataset["num_words"] <= 1 << 16 else "<i4")

    @property
    def num_bytes(self) -> int:
        """On disk, but for a few bytes a record."""
        steps = self.streams * self.window * self.windows
        return steps * self.top_k * (self.ids_dtype.itemsize + 2)

    @property
    def shards(self) -> tuple[str, ...]:
        """File names, in the order of their streams."""
        count = -(-self.streams // STREAMS_PER_SHARD)
        return tuple(f"signal.tfrecord-{i:05d}-of-{count:05d}" for i in range(count))

    def rows(self, shard: int) -> slice:
        """The streams in a shard."""
        first = shard * STREAMS_PER_SHARD
        return slice(first, min(first + STREAMS_PER_SHARD, self.streams))


def encode(window: int, ids: np.ndarray, log_probabilities: np.ndarray) -> bytes:
    """A serialized tf.Example of one window: [streams, T, K] each, as they are kept."""
    fields = {"window": [window], "ids": ids.tobytes()}
    fields["log_probabilities"] = log_probabilities.astype("<f2").tobytes()
    return serialized(fields)


def publish(path: str | Path, request: Request, shards: Sequence[Mapping]) -> None:
    """Writes the manifest.

    Each shard, in order, has name, bytes, sha256 and `covered`, the sum of the
    probability that is kept of its `words`.
    """
    words = sum(shard["words"] for shard in shards)
    value = {
        "schema_version": SCHEMA_VERSION,
        **asdict(request),
        "teachers": list(request.teachers),
        "covered_probability": sum(shard["covered"] for shard in shards) / words,
        "shards": list(shards),
    }
    write_json_atomic(Path(path) / MANIFEST_NAME, sealed(value))


@dataclass(frozen=True, eq=False)
class Signal:
    """A finished signal; `stamps` are what its files were like when checked."""

    path: Path
    request: Request
    manifest: dict[str, Any]
    stamps: integrity.Stamps

    @property
    def digest(self) -> str:
        """Of all its content."""
        return digest_of([shard["sha256"] for shard in self.manifest["shards"]])

    def stream(self, cut: text.Windows) -> EpochStream:
        """The windows with the teachers' predictions, as training data.

        Batches are those of `text.stream` with "teacher_ids" int32 and
        "teacher_log_probabilities" float32 [B, T, K].
        """
        plain = text.stream(cut)

        def batches(first_epoch: int) -> tf.data.Dataset:
            shards = [
                tf.data.TFRecordDataset(str(self.path / name)).map(self._decode)
                for name in self.request.shards
            ]
            stored = tf.data.Dataset.zip(tuple(shards)).map(_joined).repeat()
            both = tf.data.Dataset.zip(plain.batches(first_epoch), stored)
            return both.map(lambda batch, signal: {**batch, **signal}).prefetch(4)

        sizes = plain.steps_per_epoch, plain.examples_per_epoch
        return EpochStream(*sizes, batches, check=self.check_unchanged)

    def check_unchanged(self) -> None:
        """As `DistillationSet.check_unchanged`."""
        integrity.check_unchanged(self.path, self.stamps)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """As `DistillationSet.reading`."""
        how = {"unchanged": self.check_unchanged}
        how["check"] = lambda: _check_shards(self.path, self.manifest["shards"])
        return graph_errors.translated(self.path, **how)

    def _decode(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
        content = tf.io.FixedLenFeature([], tf.string)
        schema = {"ids": content, "log_probabilities": content}
        example = tf.io.parse_single_example(record, schema)
        shape = [-1, self.request.window, self.request.top_k]
        kind = tf.uint16 if self.request.ids_dtype.itemsize == 2 else tf.int32
        ids = tf.io.decode_raw(example["ids"], kind)
        values = tf.io.decode_raw(example["log_probabilities"], tf.float16)
        return {
            "teacher_ids": tf.reshape(tf.cast(ids, tf.int32), shape),
            "teacher_log_probabilities": tf.reshape(tf.cast(values, tf.float32), shape),
        }


def read(path: str | Path, *, data: text.TextData, streams: int, window: int) -> Signal:
    """The signal at `path`, made for this text cut this way.

    UserError if there is none, or one of another text or cut; StaleArtifactError if it
    is damaged.
    """
    path = Path(path)
    file = path / MANIFEST_NAME
    if not file.is_file():
        raise UserError(
            f"{path} is not a finished signal (no {MANIFEST_NAME}); make one with "
            "a language model's `born_again=True` and `teacher_signal='stored'`"
        )
    try:
        value = json.loads(read_bytes(file, "json"))
        seal = value.pop(SEAL)
        fields = {name: value[name] for name in Request.__dataclass_fields__}
        request = Request(**{**fields, "teachers": tuple(fields["teachers"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StaleArtifactError(
            f"{file} is not a readable signal's ({error!r}); make the signal again"
        ) from error
    if seal != digest_of(value):
        raise StaleArtifactError(f"{file} was damaged or edited; make the signal again")
    stamps = _check_shards(path, value["shards"])
    _require(path, request, data=data, streams=streams, window=window)
    return Signal(path, request, value, stamps)


def _check_shards(path: Path, shards: Sequence[Mapping]) -> integrity.Stamps:
    stamps = integrity.stamps_of(path, [shard["name"] for shard in shards])
    for shard in shards:
        kept = path / shard["name"]
        if not kept.is_file() or sha256_file(kept) != shard["sha256"]:
            raise StaleArtifactError(f"{kept} is missing or damaged; make it again")
    return stamps


def _require(path: Path, request: Request, *, data, streams: int, window: int) -> None:
    ours, theirs = data.identity(), request.dataset
    for field, what in (("vocabulary_digest", "vocabulary"), ("digest", "text")):
        if ours[field] != theirs[field]:
            raise UserError(
                f"signal {path} was made from another {what} ({field} "
                f"{theirs[field][:12]}, expected {ours[field][:12]}); make one of this"
            )
    cut = (("streams", streams, "batch_size"), ("window", window, "window"))
    for field, expected, option in cut:
        if (stored := getattr(request, field)) != expected:
            raise UserError(
                f"signal {path} has field {field} {stored}, expected {expected}; train "
                f"with `{option}={stored}` or make another"
            )


def _joined(*shards: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tf.concat([s[name] for s in shards], axis=0) for name in shards[0]}
