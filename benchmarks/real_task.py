"""A small real training as a function of a student's six hyperparameters.

CIFAR-10 averaged to 16x16, 10,240 stored views with the logits of a small CNN, a
student with two convolutions and 100,000 parameters, 320 steps of 32 views by logit
regression, 4,000 validation images: 4 to 8 seconds a training. Network, views, shell
and initialisation are the project's own, and so is the shape of the schedule.
"""

import os
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

from kerasdistill.budget import Budget  # noqa: E402
from kerasdistill.models import build  # noqa: E402
from kerasdistill.seeds import permutation, view_seeds  # noqa: E402
from kerasdistill.training.distillation_models import (  # noqa: E402
    LogitRegressionModel,
)
from pipelines import datasets  # noqa: E402
from pipelines.views import urban  # noqa: E402
from tuners import spaces  # noqa: E402
from tuners.space import Space  # noqa: E402

SIDE, CLASSES = 16, 10
BATCH, STEPS, WARMUP, CLIP = 32, 320, 32, 30.0
VALIDATION = 4_000
TEACHER_EPOCHS, LOGIT_DEVIATION = 14, 1.2
FILE = "task.npz"


def space() -> Space:
    """What is searched."""
    shapes = {"image_shape": (SIDE, SIDE, 3), "num_classes": CLASSES}
    return spaces.student(budget=Budget(100_000), convs=2, **shapes)


def load(folder: Path) -> dict[str, np.ndarray]:
    """The task's arrays; the first call makes them, teacher included, in minutes."""
    path = folder / FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = _made()
        partial = folder / f".{os.getpid()}.{FILE}"
        np.savez(partial, **made)
        partial.replace(path)
    with np.load(path) as arrays:
        return dict(arrays)


def accuracy(
    task: Mapping[str, np.ndarray], point: Mapping[str, float], *, seed: int
) -> float:
    """Of the student at a point of the space after its last step, 0 to 1; NaN where
    its training diverged. `seed` is of the weights and the views' order."""
    keras.utils.clear_session()
    recipe = space().recipe(point)
    shapes = {"image_shape": (SIDE, SIDE, 3), "num_classes": CLASSES}
    student = build.build(recipe.architecture, seed=seed, **shapes)
    model = LogitRegressionModel(student, clip_norm=CLIP)
    rate = recipe.training.learning_rate
    cosine = keras.optimizers.schedules.CosineDecay(
        0.1 * rate, STEPS - WARMUP, warmup_target=rate, warmup_steps=WARMUP
    )
    momentum = recipe.training.momentum
    model.compile(keras.optimizers.SGD(cosine, momentum=momentum, nesterov=True))
    order = permutation(len(task["views"]), seed, "order")
    batch = {
        "image": task["views"][order],
        "teacher_logits": task["logits"][order],
        "label": task["labels"][order],
    }
    batches = tf.data.Dataset.from_tensor_slices(batch).batch(BATCH)
    model.fit(batches, epochs=1, verbose=0)
    logits = student.predict(task["validation"], batch_size=500, verbose=0)
    if not np.isfinite(logits).all():
        return float("nan")
    return float(np.mean(logits.argmax(1) == task["validation_labels"]))


def _made() -> dict[str, np.ndarray]:
    data = datasets.load("cifar10")
    images = _halved(data.train)
    validation = _halved(data.validation)[:VALIDATION]
    labels = data.train.labels
    held = data.validation.labels[:VALIDATION]
    augmentation = space().recipe(space().middle).augmentation
    ids = np.arange(len(images))

    def views(chosen: np.ndarray, number: int) -> np.ndarray:
        seeds = view_seeds(chosen, pass_index=number, seed=0)
        how = {"augmentation": augmentation}
        parts = [slice(at, at + 5_000) for at in range(0, len(chosen), 5_000)]
        made = [urban.views(images[chosen[p]], seeds[p], **how) for p in parts]
        return np.concatenate(made)

    teacher = _teacher()
    for epoch in range(TEACHER_EPOCHS):
        order = permutation(len(images), 0, "teacher", epoch)
        pixels = views(ids[order], 1 + epoch)
        teacher.fit(pixels, labels[order], batch_size=128, epochs=1, verbose=2)
    reached = teacher.evaluate(validation, held, batch_size=500, verbose=0)[1]
    print(f"teacher: {reached:.4f} of {len(held)} validation images")
    chosen = permutation(len(images), 0, "views")[: BATCH * STEPS]
    pixels = views(chosen, 0)
    logits = teacher.predict(pixels, batch_size=500, verbose=0)
    logits -= logits.mean(1, keepdims=True)
    return {
        "views": pixels,
        "labels": labels[chosen],
        "logits": logits * (LOGIT_DEVIATION / logits.std()),
        "validation": validation,
        "validation_labels": held,
        "teacher_accuracy": np.array(reached),
    }


def _halved(examples: datasets.Examples) -> np.ndarray:
    """Each 2x2 pixels' mean, uint8."""
    pixels = np.asarray(examples.read(np.arange(len(examples))), np.float32)
    count, side, _, channels = pixels.shape
    blocks = pixels.reshape(count, side // 2, 2, side // 2, 2, channels)
    return np.round(blocks.mean((2, 4))).astype(np.uint8)


def _teacher() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Rescaling(1 / 127.5, -1)]
    for filters in (32, 64):
        for _ in range(2):
            layers += [
                keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        layers.append(keras.layers.MaxPooling2D())
    layers += [keras.layers.Flatten(), keras.layers.Dropout(0.3)]
    layers.append(keras.layers.Dense(CLASSES))
    teacher = keras.Sequential(layers)
    teacher.compile(
        keras.optimizers.Adam(2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return teacher
