"""How a record keeps the pixels of its views: one small object for each way."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Store:
    """A way to keep pixels.

    needs_data: whether reading takes the transfer set, to make the views again from
    their seeds. features: names of what a record has, `bytes` or a list of `int` each.
    encode: a `records.Block` -> their values. decode, inside a graph: their tensors and
    the image shape -> "image" uint8 [B, H, W, C], or "seeds" int64 [B] if the store
    needs the data. bytes_per_view: the image shape -> an upper estimate.
    """

    needs_data: bool
    features: Mapping[str, type]
    encode: Callable[[Any], dict[str, Any]]
    decode: Callable[[dict[str, Any], tuple[int, ...]], dict[str, Any]]
    bytes_per_view: Callable[[tuple[int, ...]], int]


def _pixels(example: dict[str, Any], image_shape: tuple[int, ...]) -> dict[str, Any]:
    import tensorflow as tf  # the command line lists the names without it

    pixels = tf.io.decode_raw(example["image"], tf.uint8)
    return {"image": tf.reshape(pixels, [-1, *image_shape])}


STORES: dict[str, Store] = {
    # The pixels as they are: large, and the fastest to read.
    "images": Store(
        needs_data=False,
        features={"image": bytes},
        encode=lambda block: {"image": block.pixels.tobytes()},
        decode=_pixels,
        bytes_per_view=math.prod,
    ),
    # The seeds alone: small.
    "replay": Store(
        needs_data=True,
        features={"seeds": int},
        encode=lambda block: {"seeds": block.seeds},
        decode=lambda example, image_shape: {"seeds": example["seeds"]},
        bytes_per_view=lambda image_shape: 10,  # a seed's varint
    ),
}
WITHOUT_PIXELS = "replay"  # of records whose pixels nobody reads, such as validation's
