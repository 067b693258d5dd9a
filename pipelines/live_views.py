"""Training data made on the fly, and plain batches for scoring."""

import numpy as np
import tensorflow as tf

from kerasdistill.recipes.base import Augmentation, CropAugmentation, Shifts
from kerasdistill.seeds import permutation, view_seeds
from kerasdistill.training.epochs import EpochStream
from pipelines import augment, shifts
from pipelines.datasets import Examples

_FOREVER = np.iinfo(np.int64).max


def stream(
    examples: Examples,
    *,
    augmentation: Augmentation | CropAugmentation | Shifts,
    seed: int,
    batch_size: int,
) -> EpochStream:
    """Endless labelled views; an epoch is one pass over the examples.

    Epoch e's order and views depend on `seed` and e alone.

    Returns:
        Batches of {"image" uint8 [B, H, W, C], "label" int64 [B], "sample_id" int64
        [B]}; the last of an epoch may be short.
    """
    images, labels = tf.constant(examples.images), tf.constant(examples.labels)
    alternates = isinstance(augmentation, Shifts)
    views = shifts.views if alternates else augment.views
    sample_ids = tf.constant(examples.sample_ids)

    def plan(epoch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = permutation(len(examples), seed, "order", int(epoch))
        ids = examples.sample_ids[order]
        which = {"pass_index": int(epoch), "seed": seed}
        seeds = view_seeds(ids, **which)
        if alternates:
            seeds = shifts.alternating(seeds, ids, **which)
        return order, seeds

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        rows = tf.numpy_function(plan, [epoch], [tf.int64, tf.int64])
        for row in rows:
            row.set_shape([len(examples)])
        return tf.data.Dataset.from_tensor_slices(tuple(rows)).batch(batch_size)

    def make(order: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        chosen = tf.gather(images, order)
        made = views(chosen, seeds, augmentation=augmentation)
        of_each = {"label": labels, "sample_id": sample_ids}
        return {
            "image": made,
            **{name: tf.gather(column, order) for name, column in of_each.items()},
        }

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
    examples: Examples,
    *,
    teacher_logits: np.ndarray | None = None,
    batch_size: int = 500,
) -> tf.data.Dataset:
    """Every example once, in order: {"image"[, "label"][, "teacher_logits"]} batches.

    Args:
        examples: what to score.
        teacher_logits: float32 [examples, classes], in their order.
        batch_size: examples in a batch; the last may be short.

    Raises:
        ValueError: the logits are not one row an example.
    """
    columns = {"image": examples.images}
    if (examples.labels >= 0).all():
        columns["label"] = examples.labels
    if teacher_logits is not None:
        if len(teacher_logits) != len(examples):
            raise ValueError(f"{len(teacher_logits)} logits, {len(examples)} examples")
        columns["teacher_logits"] = teacher_logits
    return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size).prefetch(2)
