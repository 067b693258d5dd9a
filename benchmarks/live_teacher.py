"""A student's epoch from the store, against `keras.distillation.Distiller` live.

The same student, batch and steps; the Distiller asks the same super teacher in every
step, and takes its images ready-made from memory. With a teacher that costs T and a
student that costs S an image, no store can gain more than (T + S) / S.
"""

import timing  # isort: skip (first: it chooses the cores)

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras.distillation import Distiller, LogitsDistillation
from labelling import noise, save_teachers

from kerasdistill import devices
from kerasdistill.budget import Budget
from kerasdistill.models import ensemble, loading
from kerasdistill.models import student as student_model
from kerasdistill.recipes import urban2017
from kerasdistill.recipes.base import Augmentation
from kerasdistill.training.distillation_models import LogitRegressionModel
from pipelines import distillation_set, precompute

BATCH = 128
MEMBERS = (1, 4, 16)


def student() -> keras.Model:
    """1M parameters, three convolutions."""
    recipe = urban2017.student(budget=Budget(1_000_000), convs=3)
    return student_model.build(
        recipe.architecture,
        image_shape=(32, 32, 3),
        num_classes=10,
        seed=0,
        precision=devices.resolve_precision("auto"),
    )


def optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True)


def from_store(batches: tf.data.Dataset, views: int):
    """A function that trains on a pass of the store."""
    model = LogitRegressionModel(student(), clip_norm=30.0)
    model.compile(optimizer=optimizer())

    def epoch() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return views

    return epoch


def live(paths: list[str], views: int):
    """A function that trains on as many images, asking these teachers."""
    teacher = ensemble.build([loading.load(path) for path in paths])
    model = Distiller(
        teacher=teacher,
        student=student(),
        distillation_losses=LogitsDistillation(loss="mse"),
        student_loss_weight=0.0,
    )
    model.compile(
        optimizer=optimizer(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    examples = noise(views).train
    batches = tf.data.Dataset.from_tensor_slices(
        (examples.images.astype(np.float32), examples.labels)
    ).batch(BATCH)

    def epoch() -> int:
        model.fit(batches, epochs=1, verbose=0)
        return views

    return epoch


def scoring(paths: list[str], views: int):
    """A function that only asks these teachers."""
    teacher = ensemble.build([loading.load(path) for path in paths])
    images = noise(views).train.images

    def ask() -> int:
        teacher.predict(images, batch_size=BATCH, verbose=0)
        return views

    return ask


def main() -> None:
    """Measures and prints."""
    asked = timing.arguments(__doc__.splitlines()[0], views=4_096)
    with tempfile.TemporaryDirectory() as folder:
        paths = save_teachers(Path(folder), max(MEMBERS))
        made = precompute.run(
            teacher_paths=paths[:1],
            data=noise(asked.views),
            augmentation=Augmentation(),
            passes=1,
            store="images",
            output=str(Path(folder) / "set"),
            seed=0,
            force=True,
        )
        stored = distillation_set.open(made.distillation_set)
        ways = {"from the store": from_store(stored.dataset(BATCH), asked.views)}
        for count in MEMBERS:
            views = max(4 * BATCH, asked.views // count)
            ways[f"live, {count} members"] = live(paths[:count], views)
            ways[f"teachers alone, {count}"] = scoring(paths[:count], views)
        measured = timing.rates(ways, rounds=asked.rounds)
    rate = {name: found.images_per_second for name, found in measured.items()}
    ours = rate["from the store"]
    rows = []
    for count in MEMBERS:
        distiller = rate[f"live, {count} members"]
        ideal = 1 + ours / rate[f"teachers alone, {count}"]
        rows.append({"members": count, "live": distiller, "ideal": ideal})
    if asked.json:
        print(json.dumps({"benchmark": "live teacher", "store": ours, "rows": rows}))
        return
    print(f"\nA 1M student from the store: {ours:,.0f} images/s\n")
    print("| members | Distiller, live, images/s | the store's gain | (T + S) / S |")
    print("|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['members']} | {row['live']:,.0f} | {ours / row['live']:.1f} "
            f"| {row['ideal']:.1f} |"
        )


if __name__ == "__main__":
    main()
