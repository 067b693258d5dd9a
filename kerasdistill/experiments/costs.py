"""What a chain will cost, from a few real training steps on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import devices
from kerasdistill.experiments import training
from kerasdistill.recipes import base
from pipelines.datasets import ImageData

# The paper's schedule stops by itself; this many epochs are assumed for it. (It
# cannot stop before epoch 31.)
ASSUMED_EPOCHS = 100
_TIMED_STEPS = 2
_SCORED = 256


@dataclass(frozen=True)
class Speed:
    """Images per second of one model here: trained, and scored in inference."""

    training: float
    scoring: float
    num_params: int


def measure(
    build: Callable[..., keras.Model], recipe: base.Recipe, data: ImageData
) -> Speed:
    """Times a copy of the model on random images; a few seconds, nothing is kept."""
    size = recipe.training.batch_size
    with devices.strategy().scope():
        model = build(
            recipe.architecture,
            image_shape=data.image_shape,
            num_classes=data.num_classes,
            seed=0,
            precision=recipe.training.precision,
        )
        wrapped = training.shell(model, recipe.training)
        wrapped.compile(optimizer=keras.optimizers.SGD(1e-4, momentum=0.9))
    return Speed(
        training=_rate(wrapped.fit, _random_batches(data, size), size),
        scoring=scoring_rate(model, data),
        num_params=model.count_params(),
    )


def scoring_rate(model: keras.Model, data: ImageData) -> float:
    """Images per second in inference, on random images of the data's shape."""
    batches = _random_batches(data, _SCORED).map(lambda batch: batch["image"])
    return _rate(model.predict, batches, _SCORED)


def _random_batches(data: ImageData, size: int) -> tf.data.Dataset:
    generator = np.random.default_rng(0)
    count = size * _TIMED_STEPS
    columns = {
        "image": generator.integers(0, 256, (count, *data.image_shape), np.uint8),
        "label": generator.integers(0, data.num_classes, count),
        "teacher_logits": generator.normal(size=(count, data.num_classes)),
    }
    return tf.data.Dataset.from_tensor_slices(columns).batch(size)


def _rate(run: Callable[..., object], batches: tf.data.Dataset, size: int) -> float:
    run(batches.take(1), verbose=0)  # compiles
    began = time.monotonic()
    run(batches, verbose=0)
    return size * _TIMED_STEPS / (time.monotonic() - began)


def training_seconds(recipe: base.Recipe, speed: Speed, data: ImageData) -> float:
    """Expected duration of the whole training, validation included."""
    epochs = recipe.training.epochs or ASSUMED_EPOCHS
    an_epoch = len(data.train) / speed.training + len(data.validation) / speed.scoring
    return epochs * an_epoch


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "25 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes for people, decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
