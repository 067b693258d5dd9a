"""Training data held in memory: a pass's views are made as it begins, not piped."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.machine import cores
from kerasdistill.training.epochs import EpochStream
from pipelines.distillation_set import DistillationSet, batch_sizes
from pipelines.views.view import Tensors


def bytes_needed(stored: DistillationSet, *, kept: int) -> int:
    """Most memory that the training data takes, with so many passes kept.

    Beside those: the transfer set's images, the blocks that a new pass is joined from,
    and, where none is kept, the new pass and the one before it.
    """
    manifest = stored.manifest
    beside = sum(math.prod(each.shape) for each in manifest.stored_targets)
    targets = 4 * (manifest.num_classes + beside) + 16  # floats, label, sample id
    view = math.prod(manifest.image_shape) + targets
    return (2 + max(kept, 2)) * view * manifest.layout.num_samples


def stream(
    stored: DistillationSet,
    *,
    batch_size: int,
    passes: int,
    keep: bool,
    strategy: tf.distribute.Strategy | None,
) -> EpochStream:
    """A replay set's first passes, each whole in memory for its epoch.

    Epoch e is pass e modulo `passes`. `batches` yields each view's place in its pass;
    the step looks the rest up. The batches are those of `DistillationSet.dataset`, bit
    for bit. With `keep`, passes are kept for when they come again. UserError if a
    device of `strategy` has no memory for a pass.

    Without a strategy `batches` yields the views themselves: NumPy arrays, of which the
    engine takes many to its devices at once.
    """
    count = stored.manifest.layout.num_samples
    sizes = batch_sizes(count, batch_size)
    sizing = {"steps_per_epoch": len(sizes), "examples_per_epoch": count}
    if strategy is None:
        held = _Passes(stored, keep=keep)

        def cut(first_epoch: int) -> Iterator[dict[str, np.ndarray]]:
            for epoch in itertools.count(first_epoch):
                made = held.of(epoch % passes)
                arrays = {name: each.numpy() for name, each in made.items()}
                for end, size in zip(np.cumsum(sizes), sizes, strict=True):
                    rows = slice(end - size, end)
                    yield {name: each[rows] for name, each in arrays.items()}

        return EpochStream(**sizing, batches=cut, check=stored.check_unchanged)
    resident = ResidentPass(stored, keep=keep, strategy=strategy)
    places = tf.data.Dataset.from_tensors({"place": tf.range(count, dtype=tf.int64)})
    return EpochStream(
        **sizing,
        batches=lambda first_epoch: places.rebatch(sizes).repeat().prefetch(2),
        prepare=lambda epoch: resident.hold(epoch % passes),
        complete=resident.complete,
    )


class _Passes:
    """Makes passes of a replay set in the host's memory.

    Seeds and logits are read as a pass is made, so unless passes are kept, memory does
    not grow with their number; the last one stays.
    """

    def __init__(self, stored: DistillationSet, *, keep: bool) -> None:
        self._stored = stored
        self._keep = keep
        self._kept: dict[int, Tensors] = {}
        self._replay = tf.function(
            stored.replayer(), input_signature=[stored.pass_records(0).element_spec]
        )
        self.specs = self._replay.get_concrete_function().structured_outputs

    def of(self, pass_index: int) -> Tensors:
        """The whole pass, in the stored order.

        InvalidArgumentError, which `DistillationSet.reading` translates, if a block's
        views differ from their fingerprint.
        """
        if pass_index not in self._kept:
            made = self._made(pass_index)
            self._kept = {**(self._kept if self._keep else {}), pass_index: made}
        return self._kept[pass_index]

    def _made(self, pass_index: int) -> Tensors:
        records = self._stored.pass_records(pass_index)
        with ThreadPoolExecutor(cores()) as pool:
            blocks = list(pool.map(self._block, records))
        self._stored.check_unchanged()
        with tf.device("CPU:0"):
            return {
                name: tf.concat([block.pop(name) for block in blocks], axis=0)
                for name in self.specs
            }

    def _block(self, record: Tensors) -> Tensors:
        with tf.device("CPU:0"):
            return self._replay(record)


class ResidentPass:
    """One pass of a replay set in the memory of every device that trains."""

    def __init__(
        self, stored: DistillationSet, *, keep: bool, strategy: tf.distribute.Strategy
    ) -> None:
        self._passes = _Passes(stored, keep=keep)
        count = stored.manifest.layout.num_samples
        try:
            alone = strategy.num_replicas_in_sync == 1
            devices = [None] if alone else strategy.extended.worker_devices
            columns = [_columns(self._passes.specs, count, each) for each in devices]
            self._columns = columns
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"a device has no memory left for a pass of {stored.path} "
                f"({count:,} views); leave out `resident='always'`"
            ) from error

    def hold(self, pass_index: int) -> None:
        """Puts a pass where `complete` finds it; errors as of `_Passes.of`."""
        made = self._passes.of(pass_index)
        for columns in self._columns:
            for name, column in columns.items():
                column.assign(made[name])

    def complete(self, batch: Tensors) -> Tensors:
        """Looks up the views at "place" int64 [B]; other entries are kept."""
        context = tf.distribute.get_replica_context()
        replica = int(tf.get_static_value(context.replica_id_in_sync_group))
        views = {
            name: tf.gather(column.value(), batch["place"])
            for name, column in self._columns[replica].items()
        }
        return {**{k: v for k, v in batch.items() if k != "place"}, **views}


def _columns(
    specs: dict[str, tf.TensorSpec], count: int, device: str | None
) -> dict[str, tf.Variable]:
    with tf.device(device):
        return {
            name: tf.Variable(
                tf.zeros([count, *spec.shape[1:]], spec.dtype), trainable=False
            )
            for name, spec in specs.items()
        }
