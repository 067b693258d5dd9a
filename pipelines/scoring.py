"""Whether a teacher may label a transfer set, and what a manifest says of it."""

import logging
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.exports.cards import own_card, read_card
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.summary import leaf_layers
from kerasdistill.seeds import permutation
from pipelines.datasets import ImageData
from pipelines.stored.layout import AVERAGING
from pipelines.stored.manifest import first_difference
from pipelines.stored.scorer import outputs

CHECKED_IMAGES = 512
_CPU_FLAGS = ("avx", "amx", "fma", "f16c", "sse4", "asimd", "sve", "bf16")


def check_teacher(
    teacher: keras.Model,
    path: str | os.PathLike[str],
    *,
    data: ImageData,
    force: bool = False,
) -> None:
    """Refuses a teacher that cannot have been trained for the classes of `data`.

    `path` is its file, whose card lies beside it; with `force` a teacher without a card
    may have any accuracy. UserError if shapes, classes, split or outputs do not fit;
    StaleArtifactError if the card describes other weights.
    """
    shapes = (tuple(teacher.input_shape[1:]), tuple(teacher.output_shape[1:]))
    expected = (data.image_shape, (data.num_classes,))
    if shapes != expected:
        raise UserError(
            f"teacher {path} maps {shapes[0]} to {shapes[1]}, but {data.name} has "
            f"images of {expected[0]} and {data.num_classes} classes; train one for it"
        )
    card = own_card(path, teacher)
    if card is not None:
        _check_card(card, path, data)
    # The card of an adapted teacher may know nothing of its classes.
    named = card is not None and "class_names" in card
    if not named and not data.labelled and not force:
        raise UserError(
            f"teacher {path} has no card.json that names its classes, and without "
            "labels their order cannot be checked; --force accepts it"
        )
    chosen = permutation(len(data.train), 0, "teacher check")[:CHECKED_IMAGES]
    sample = data.train.take(chosen)
    logits = outputs([teacher], tf.constant(sample.images))[0].numpy()
    if not np.isfinite(logits).all():
        raise UserError(
            f"teacher {path} gives NaN or infinite logits; it has diverged: train again"
        )
    # Half-precision probabilities add up to 1 only this roughly.
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1.0, atol=2e-2):
        raise UserError(
            f"teacher {path} outputs probabilities, expected logits; save it without "
            "its final softmax, or add --teacher-output probabilities"
        )
    agreement = float((logits.argmax(axis=1) == sample.labels).mean())
    chance = 1.0 / data.num_classes
    # Twice chance is out of reach with two classes: there, halfway to perfect.
    least = min(2.0 * chance, (1.0 + chance) / 2.0)
    if not named and data.labelled and agreement < least and not force:
        raise UserError(
            f"teacher {path} has no card.json that names its classes; its top-1 "
            f"agrees with {agreement:.1%} of the labels, expected at least "
            f"{least:.1%}: its classes may be in another order; --force accepts it"
        )


def signal_fields(teachers: list[keras.Model], paths: Sequence[str]) -> dict[str, Any]:
    """The manifest fields that the teachers and this machine fix."""
    gpus = tf.config.list_physical_devices("GPU")
    return {
        "teachers": [_described(*each) for each in zip(teachers, paths, strict=True)],
        "averaging": AVERAGING,
        "scoring": {"device": "gpu" if gpus else "cpu"},
        "environment": {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
            "cpu_features": _cpu_features(),
        },
    }


def _described(teacher: keras.Model, path: str) -> dict[str, Any]:
    policies = {layer.dtype_policy.name for layer in leaf_layers(teacher)}
    described = {
        "weights_digest": weights_digest(teacher),
        "file": Path(path).name,
        "precision": "+".join(sorted(policies)),  # such as float32+mixed_bfloat16
    }
    card = read_card(path) or {}
    if "adapted" in card:  # what was put around somebody else's teacher
        described["adapted"] = card["adapted"]
    return described


def pin_to_one_thread() -> None:
    """Sums are then formed in the same order whatever runs beside this process."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:  # TensorFlow has started: a process that is not a worker's
        if not pinned_to_one_thread():
            logging.getLogger(__name__).info(
                "TensorFlow keeps the thread count of the process it shares"
            )


def pinned_to_one_thread() -> bool:
    """Whether one operation of TensorFlow's uses one thread, by call or environment."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    # 0 is "not set", and only then TensorFlow looks at the environment.
    one_in_environment = os.environ.get("TF_NUM_INTRAOP_THREADS") == "1"
    return threads == 1 or (threads == 0 and one_in_environment)


def _check_card(card: dict[str, Any], path: Any, data: ImageData) -> None:
    ours = {"class_names": list(data.class_names)}
    if data.labelled:  # else the images are not those the teacher was trained on
        ours["dataset"] = data.identity()
    stated = {name: card[name] for name in ours if name in card}
    if isinstance(identity := stated.get("dataset"), dict):
        both = identity.keys() & ours["dataset"].keys()
        ours["dataset"] = {name: ours["dataset"][name] for name in both}
    difference = first_difference({name: ours[name] for name in stated}, stated)
    if difference:
        field, expected, value = difference
        raise UserError(
            f"teacher {path}: its card's {field} is {value!r}, the data's is "
            f"{expected!r}; use a teacher of this data set and split"
        )


def _cpu_features() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return sorted(f for f in value.split() if f.startswith(_CPU_FLAGS))
    return []
