"""What a split of a data set is: images by their place, wherever they lie."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np


class Source(Protocol):
    """Labelled images of one shape; `examples.Examples` is the one in memory.

    labels: int64 [N], -1 where there is none. sample_ids: int64 [N]. image_shape:
    height, width, channels. images: uint8 [N, H, W, C], all of them, which a source
    that reads from disk makes anew each time. in_memory: whether `images` is there
    already; a source that is not must survive pickling, for workers read it themselves.
    """

    labels: np.ndarray
    sample_ids: np.ndarray
    in_memory: bool

    @property
    def images(self) -> np.ndarray: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    def __len__(self) -> int: ...

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images at places int64 [n], in that order: uint8 [n, H, W, C]."""

    def take(self, places: np.ndarray) -> "Source":
        """The examples at `places`, in that order, with their sample ids."""


def blocks(source: Source, at_once: int = 10_000) -> Iterator[np.ndarray]:
    """All images in order: uint8 [n, H, W, C], n at most `at_once`."""
    for first in range(0, len(source), at_once):
        places = np.arange(first, min(first + at_once, len(source)))
        yield np.ascontiguousarray(source.read(places))


def reader(source: Source) -> Callable[[Any], Any]:
    """`source.read` inside a graph: int64 [n] -> uint8 [n, H, W, C]."""
    import tensorflow as tf  # data sets are read without it

    if source.in_memory:
        images = tf.constant(source.images)
        return lambda places: tf.gather(images, places)
    shape = [None, *source.image_shape]

    def read(places):
        images = tf.numpy_function(source.read, [places], tf.uint8)
        return tf.ensure_shape(images, shape)

    return read
