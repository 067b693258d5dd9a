"""What implements an augmentation: a function of a whole block of images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kerasdistill.seeds import view_seeds

Tensors = dict[str, tf.Tensor]  # the fields of a batch, a block or a record
Fields = Callable[[Tensors], Tensors]


class Mixed(NamedTuple):
    """Views of which each is made of two images of its block.

    pixels uint8 [N, H, W, C]; partner int64 [N], the other image's place in the block;
    share float32 [N] in [0, 1], the weight of the view's own label.
    """

    pixels: tf.Tensor
    partner: tf.Tensor
    share: tf.Tensor


@dataclass(frozen=True)
class View:
    """How the views of one kind of augmentation are made.

    `make` takes images uint8 [N, H, W, C], seeds int64 [N] and the keyword
    `augmentation`, and returns pixels uint8 [N, H, W, C], or `Mixed` if it `mixes`. It
    must depend on its arguments alone; a view that does not mix, on its own image and
    seed alone. `seeds` turns sample ids [N], a pass_index and a run's seed into the
    views' seeds, int64 [N].
    """

    make: Callable[..., tf.Tensor | Mixed]
    mixes: bool = False
    seeds: Callable[..., np.ndarray] = view_seeds


def with_partner_labels(fields: Tensors) -> Tensors:
    """The fields of a block with its partners' labels, if it has partners.

    A batch may hold parts of several blocks, so places in a block mean nothing there.
    """
    if "partner" not in fields:
        return fields
    labels = tf.gather(fields["label"], fields["partner"])
    return {**fields, "partner_label": labels}
