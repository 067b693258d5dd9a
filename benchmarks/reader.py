"""Speed of reading a distillation set, against one record per view.

All ways yield the same batches: image, teacher logits, label and sample id. The last
line is what opening costs, which hashes every shard.
"""

import timing  # isort: skip (first: it chooses the cores)

import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerasdistill.files import sha256_file
from kerasdistill.recipes.base import Augmentation
from kerasdistill.seeds import view_seeds
from pipelines.datasets import Examples, ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored import integrity, records
from pipelines.stored.layout import Layout
from pipelines.stored.manifest import SCHEMA_VERSION, Manifest, Shard
from pipelines.stored.records import Block
from pipelines.stored.replay import make_views
from pipelines.views import augment

BATCH = 128
CLASSES = 10
SHAPE = (32, 32, 3)
URBAN = Augmentation()
# A batch's tensors -> the fields of a block.
FIELDS = {
    "image": "pixels",
    "teacher_logits": "logits",
    "label": "labels",
    "sample_id": "sample_ids",
}


def transfer_set(count: int) -> ImageData:
    """Noise: a reader does not look at the pixels."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    examples = Examples.numbered(images, generator.integers(0, CLASSES, count))
    names = tuple(map(str, range(CLASSES)))
    return ImageData("noise", "1", names, 0, *[examples] * 3, digest="")


def blocks(data: ImageData, layout: Layout) -> Iterator[Block]:
    """The views of one pass, with random logits."""
    generator = np.random.default_rng(1)
    rows = layout.rows(0)
    for index in range(layout.blocks(0)):
        chosen = data.train.take(layout.block_rows(rows, index))
        seeds = view_seeds(chosen.sample_ids, pass_index=0, seed=layout.seed)
        pixels = make_views(
            tf.constant(chosen.images),
            tf.constant(seeds),
            augmentation=URBAN,
            block_views=layout.block_views,
        )
        logits = generator.normal(size=(len(chosen), CLASSES)).astype(np.float32)
        yield Block(
            pass_index=0,
            block_index=index,
            sample_ids=chosen.sample_ids,
            labels=chosen.labels,
            seeds=seeds,
            pixels=pixels.numpy(),
            logits=logits,
        )


def write(root: Path, data: ImageData, layout: Layout) -> None:
    """Both stores, the naive file, one record per view, and an array of each field."""
    stores = {store: root / store for store in ("images", "replay")}
    for path in stores.values():
        path.mkdir()
    with tf.io.TFRecordWriter(str(root / "naive")) as naive:
        made, written = blocks(data, layout), []
        for pass_index, number in layout.shards_of(0):
            name = layout.shard_name(pass_index, number)
            shard = [next(made) for _ in layout.shard_blocks(pass_index, number)]
            for store, path in stores.items():
                with tf.io.TFRecordWriter(str(path / name)) as writer:
                    for block in shard:
                        writer.write(records.encode(block, store=store))
            for block in shard:
                for row in range(len(block.labels)):
                    naive.write(one_view(block, row))
                written.append(block)
    for name, field in FIELDS.items():
        whole = np.concatenate([getattr(block, field) for block in written])
        np.save(root / f"{name}.npy", whole)


def one_view(block: Block, row: int) -> bytes:
    """A record of its own for one view, as most published sets have it."""

    def raw(value: np.ndarray) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.tobytes()]))

    def whole(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        "image": raw(block.pixels[row]),
        "logits": tf.train.Feature(
            float_list=tf.train.FloatList(value=block.logits[row])
        ),
        "label": whole(block.labels[row]),
        "sample_id": whole(block.sample_ids[row]),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


NAIVE_SCHEMA = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "logits": tf.io.FixedLenFeature([CLASSES], tf.float32),
    "label": tf.io.FixedLenFeature([], tf.int64),
    "sample_id": tf.io.FixedLenFeature([], tf.int64),
}


def tensors(parsed: dict[str, tf.Tensor], *outer: int) -> dict[str, tf.Tensor]:
    """Parsed fields under the names that the reader uses."""
    pixels = tf.io.decode_raw(parsed["image"], tf.uint8)
    return {
        "image": tf.reshape(pixels, [*outer, *SHAPE]),
        "teacher_logits": parsed["logits"],
        "label": parsed["label"],
        "sample_id": parsed["sample_id"],
    }


def per_record(path: Path) -> tf.data.Dataset:
    """Parses each record on its own, then batches."""
    return (
        tf.data.TFRecordDataset(str(path))
        .map(
            lambda record: tensors(tf.io.parse_single_example(record, NAIVE_SCHEMA)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )


def per_batch(path: Path) -> tf.data.Dataset:
    """Batches the records, then parses a batch at once."""
    return (
        tf.data.TFRecordDataset(str(path))
        .batch(BATCH)
        .map(
            lambda batch: tensors(tf.io.parse_example(batch, NAIVE_SCHEMA), -1),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


class Mapped:
    """Batches copied out of memory-mapped arrays: all that a reader could save."""

    def __init__(self, root: Path):
        self._arrays = {
            name: np.load(root / f"{name}.npy", mmap_mode="r") for name in FIELDS
        }

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, len(self._arrays["label"]), BATCH):
            yield {
                name: np.array(array[first : first + BATCH])
                for name, array in self._arrays.items()
            }


def opened(root: Path, store: str, data: ImageData, layout: Layout) -> DistillationSet:
    """The reader over one store; `open` would refuse a set without a teacher."""
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        store=store,
        dataset=data.identity(),
        class_names=data.class_names,
        image_shape=SHAPE,
        augmentation=dataclasses.asdict(URBAN),
        augmentation_code_version=augment.CODE_VERSION,
        teachers=(),
        averaging="mean-logits",
        logits_dtype="float32",
        keep_members=False,
        stored_mean_of=1,
        scoring={},
        environment={},
        seed=layout.seed,
        passes=1,
        block_views=layout.block_views,
        views_per_shard=layout.views_per_shard,
        num_validation=0,
        views=layout.num_samples,
        shards=(),
        member_shards=(),
        content_digest="",
    )
    return DistillationSet(root / store, manifest, data)


def consume(batches: tf.data.Dataset | Mapped) -> int:
    """Reads everything; how many views there were."""
    return sum(len(batch["label"]) for batch in batches)


def hashed(path: Path, *, rounds: int) -> float:
    """Bytes a second of the check that opening makes, the best of some rounds."""
    files = [file for file in path.iterdir() if file.is_file()]
    shards = tuple(
        Shard(file.name, file.stat().st_size, sha256_file(file), 0, None)
        for file in files
    )
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        integrity.check_shards(path, shards, None)
        best = min(best, time.perf_counter() - began)
    return sum(shard.bytes for shard in shards) / best


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=32_768)
    data = transfer_set(asked.views)
    layout = Layout(num_samples=asked.views, num_validation=0, passes=1, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, data, layout)
        ways = {
            "distillation set, images store": opened(
                root, "images", data, layout
            ).dataset(BATCH),
            "distillation set, replay store": opened(
                root, "replay", data, layout
            ).dataset(BATCH),
            "memory-mapped NumPy arrays, copied by batch": Mapped(root),
            "one record per view, parsed by batch": per_batch(root / "naive"),
            "one record per view, parsed one by one": per_record(root / "naive"),
        }
        first = [next(iter(way)) for way in ways.values()]
        for name in first[0]:  # all ways give the same, or the rates mean nothing
            for other in first[1:]:
                np.testing.assert_array_equal(other[name], first[0][name])
        measured = timing.rates(
            {name: lambda way=way: consume(way) for name, way in ways.items()},
            rounds=asked.rounds,
        )
        rate = hashed(root / "images", rounds=asked.rounds)
    timing.show("Reading", measured, as_json=asked.json)
    if asked.json:
        found = {"benchmark": "Opening", "cores": timing.CORES}
        print(json.dumps({**found, "bytes_per_second": rate}))
    else:
        print(f"\nOpening, {timing.CORES} cores: {rate / 1e9:.2f} GB/s are hashed")


if __name__ == "__main__":
    main()
