"""Fixtures that more than one room of the tests uses."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.datasets import Examples, ImageData

CLASSES = ("circle", "square", "star")
TFDS_DEFAULT = "~/tensorflow_datasets"


def pytest_collection_finish(session):
    """Two logical processors, for the tests that need two replicas.

    TensorFlow only takes this before its first operation: after every test module
    is imported (importing does nothing), before any test runs. Runs that collect
    no test of TensorFlow's don't pay for importing it.
    """
    if tf := sys.modules.get("tensorflow"):
        processor = tf.config.list_physical_devices("CPU")[0]
        halves = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
        tf.config.set_logical_device_configuration(processor, halves)


@pytest.fixture(scope="session")
def two_replicas():
    """One MirroredStrategy for the whole session: each holds communicators."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def make_examples(count: int, *, side: int = 8, first_id: int = 0) -> Examples:
    """Noisy images whose colour tells the class; labels take turns."""
    generator = np.random.default_rng([count, side, first_id])
    labels = np.arange(count) % len(CLASSES)
    images = generator.integers(0, 160, (count, side, side, 3)).astype(np.uint8)
    images[np.arange(count), :, :, labels] += 90
    return Examples(images, labels, np.arange(first_id, first_id + count))


@pytest.fixture
def image_data() -> ImageData:
    """See `shapes`."""
    return shapes()


def shapes() -> ImageData:
    """A whole data set of 8x8 images in three classes."""
    return ImageData(
        name="shapes",
        version="1",
        class_names=CLASSES,
        split_seed=0,
        train=make_examples(41),
        validation=make_examples(15, first_id=100),
        test=make_examples(12, first_id=200),
        digest="0" * 64,
    )


@pytest.fixture
def bucket(tmp_path):
    """A place in a bucket: its URL, and where its files really are."""
    import bucket_file_system  # Apache Beam takes seconds to import

    (tmp_path / "bucket").mkdir()
    url = f"{bucket_file_system.PREFIX}{tmp_path}/bucket/set"
    return url, tmp_path / "bucket" / "set"


@pytest.fixture(scope="session")
def tfds_dir() -> str:
    """Where CIFAR-10 lies prepared; without it the test is skipped."""
    root = Path(os.environ.get("TFDS_DATA_DIR") or TFDS_DEFAULT).expanduser()
    if not (root / "cifar10").is_dir():
        pytest.skip(f"CIFAR-10 is not under {root}; set TFDS_DATA_DIR")
    return str(root)
