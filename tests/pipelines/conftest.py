"""A tiny teacher and tiny distillation sets."""

import dataclasses
import socket

import keras
import pytest

from kerasdistill.recipes.base import Augmentation
from pipelines import precompute

IN_THIS_PROCESS = ("--direct_running_mode=in_memory",)


def build_teacher(*, classes=3, activation=None, side=8):
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation=activation),
        ]
    )


@pytest.fixture(scope="session")
def teacher_path(tmp_path_factory) -> str:
    """A `.keras` file whose weights are always the same, without a card."""
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("teacher") / "model.keras"
    build_teacher().save(path)
    return str(path)


@pytest.fixture
def make_set(image_data, teacher_path, tmp_path):
    """The function that precomputes 41 views a pass: blocks of 8, shards of 16."""

    def make(name="set", **changes):
        arguments = {
            "teacher_paths": [teacher_path],
            "data": image_data,
            "augmentation": Augmentation(min_crop=6),
            "passes": 2,
            "store": "images",
            "output": str(tmp_path / name),
            "seed": 5,
            "beam_options": IN_THIS_PROCESS,
            "views_per_shard": 16,
            "block_views": 8,
            "force": True,
        }
        return precompute.run(**{**arguments, **changes})

    return make


@pytest.fixture
def other_split(image_data):
    """The same images under another split seed."""
    return dataclasses.replace(image_data, split_seed=1, digest="1" * 64)


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    return port
