"""Speed of training from a distillation set, against the same step on one batch.

The student is a 1M one with three convolutions, then with one hidden layer, in the
number format that `--precision auto` chooses. An epoch is one pass; where passes are
kept in memory, it was made before. The last way sees one batch in memory again and
again: what the step alone can do.
"""

import timing  # isort: skip (first: it chooses the cores)

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import reader
import tensorflow as tf

from kerasdistill.budget import Budget
from kerasdistill.experiments.student import stored_stream
from kerasdistill.models import urban
from kerasdistill.recipes import urban2017
from kerasdistill.running import building
from kerasdistill.training import engines
from kerasdistill.training.epochs import EpochStream
from pipelines.distillation_set import DistillationSet
from pipelines.stored.layout import Layout

SHAPES = {"three convolutions": {"convs": 3}, "one hidden layer": {"hidden": 1}}


def streams(stores: dict[str, DistillationSet]) -> dict[str, EpochStream]:
    """The ways to train; all but the last have the same batches."""
    from_store = {"batch_size": reader.BATCH, "passes": 1}
    piped = stored_stream(stores["images"], **from_store)
    batch = next(iter(piped.batches(0)))
    forever = tf.data.Dataset.from_tensors(batch).repeat()
    return {
        "replay store, passes kept in memory": stored_stream(
            stores["replay"], **from_store, in_memory=True, keep=True
        ),
        "replay store, each pass made in memory": stored_stream(
            stores["replay"], **from_store, in_memory=True
        ),
        "replay store, by the reader": stored_stream(stores["replay"], **from_store),
        "images store, by the reader": piped,
        "one batch in memory": replace(piped, batches=lambda first_epoch: forever),
    }


def trainer(stream: EpochStream, shape: dict[str, int]) -> Callable[[], int]:
    """What trains a student for one epoch more and says on how many views."""
    recipe = urban2017.student(budget=Budget.parse("1M"), **shape)
    model = urban.build(
        recipe.architecture,
        image_shape=reader.SHAPE,
        num_classes=reader.CLASSES,
        seed=0,
        precision=engines.current().resolve_precision("auto"),
    )
    shell = building.shell(model, recipe.training)
    shell.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9, nesterov=True))
    shell.complete = stream.complete
    shell.make_train_function()
    batches = iter(stream.batches(0))  # one for all epochs, as in a training

    def epoch() -> int:
        stream.prepare(0)
        for _ in range(stream.steps_per_epoch):
            logs = shell.train_function(batches)
        if not np.isfinite(float(logs["loss"])):  # and so waits for the last step
            raise SystemExit("the loss is not finite, so the rates mean nothing")
        return stream.examples_per_epoch

    return epoch


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=8_192)
    data = reader.transfer_set(asked.views)
    layout = Layout(num_samples=asked.views, num_validation=0, passes=1, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        reader.write(root, data, layout)
        stores = {
            store: reader.opened(root, store, data, layout)
            for store in ("images", "replay")
        }
        for name, shape in SHAPES.items():
            ways = {
                way: trainer(stream, shape) for way, stream in streams(stores).items()
            }
            measured = timing.rates(ways, rounds=asked.rounds)
            timing.show(f"Training, 1M, {name}", measured, as_json=asked.json)


if __name__ == "__main__":
    main()
