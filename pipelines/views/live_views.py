"""Training data made on the fly, and plain batches for scoring."""

from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.seeds import permutation
from kerasdistill.training.epochs import EpochStream
from pipelines.sources.source import Source, reader
from pipelines.views import augment
from pipelines.views.view import Tensors, with_partner_labels

_FOREVER = np.iinfo(np.int64).max


def stream(
    examples: Source, *, augmentation: Any, seed: int, batch_size: int
) -> EpochStream:
    """Endless labelled views; an epoch is one pass over the examples.

    Epoch e's order and views depend on `seed` and e alone. Batches are {"image" uint8
    [B, H, W, C], "label" int64 [B], "sample_id" int64 [B]}; the last of an epoch may be
    short. Where the augmentation, of a kind in `augment.VIEWS`, mixes the images of a
    batch they also have "partner_label" int64 [B] and "share" float32 [B], the weight
    of "label" beside it.
    """
    read = reader(examples)
    columns = {
        "label": tf.constant(examples.labels),
        "sample_id": tf.constant(examples.sample_ids),
    }
    mixed = ("partner_label", "share") if augment.mixes(augmentation) else ()

    def plan(epoch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = permutation(len(examples), seed, "order", int(epoch))
        return order, augment.view_seeds(
            examples.sample_ids[order],
            augmentation=augmentation,
            pass_index=int(epoch),
            seed=seed,
        )

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(plan, [epoch], [tf.int64, tf.int64])
        for row in rows:
            row.set_shape([len(examples)])
        return tf.data.Dataset.from_tensor_slices(tuple(rows)).batch(batch_size)

    def make(order: tf.Tensor, seeds: tf.Tensor) -> Tensors:
        made = augment.block(read(order), seeds, augmentation=augmentation)
        of_each = {name: tf.gather(column, order) for name, column in columns.items()}
        batch = with_partner_labels({**made, **of_each})
        return {name: batch[name] for name in ("image", *columns, *mixed)}

    def batches(first_epoch: int) -> tf.data.Dataset:
        epochs = tf.data.Dataset.range(first_epoch, _FOREVER)
        planned = epochs.flat_map(epoch_batches)
        return planned.map(make, num_parallel_calls=2).prefetch(4)

    return EpochStream(
        steps_per_epoch=-(-len(examples) // batch_size),
        examples_per_epoch=len(examples),
        batches=batches,
    )


def for_scoring(
    examples: Source, *, teacher_logits: np.ndarray | None = None, batch_size: int = 500
) -> tf.data.Dataset:
    """Every example once, in order: {"image"[, "label"][, "teacher_logits"]} batches.

    `teacher_logits` are float32 [examples, classes], in their order (ValueError for
    another number of them). The last batch may be short.
    """
    columns = {"place": np.arange(len(examples))}
    if (examples.labels >= 0).all():
        columns["label"] = examples.labels
    if teacher_logits is not None:
        if len(teacher_logits) != len(examples):
            raise ValueError(f"{len(teacher_logits)} logits, {len(examples)} examples")
        columns["teacher_logits"] = teacher_logits
    read = reader(examples)

    def with_images(batch: Tensors) -> Tensors:
        return {"image": read(batch.pop("place")), **batch}

    batches = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size)
    return batches.map(with_images).prefetch(2)
