"""What a network's layers are and how many parameters they have, by arithmetic.

The rows are those that Keras would list of the network that `models` builds.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kerasdistill.recipes import born_again_layers, ptb_layers, urban2017_layers
from kerasdistill.recipes.architectures import (
    BanResNet,
    CharCnnLstm,
    DenseNet,
    Lstm,
    WideResNet,
)
from kerasdistill.recipes.base import CnnTeacher, FastTeacher, Student
from kerasdistill.recipes.rows import Row

LAYERS: dict[type, Callable[..., list[Row]]] = {
    CnnTeacher: urban2017_layers.cnn_teacher,
    FastTeacher: urban2017_layers.fast_teacher,
    Student: urban2017_layers.student,
    WideResNet: born_again_layers.wide_resnet,
    DenseNet: born_again_layers.densenet,
    BanResNet: born_again_layers.ban_resnet,
    Lstm: ptb_layers.lstm,
    CharCnnLstm: ptb_layers.char_cnn_lstm,
}


def table(architecture: Any, **sizes: Any) -> list[Row]:
    """One row per layer, in Keras' order: name, kind, output_shape, num_params.

    Args:
        architecture: a dataclass among the keys of `LAYERS`.
        sizes: image_shape (height, width, channels) and num_classes of a network on
            images; num_words of a language model.

    Returns:
        output_shape is without the batch, None is a length that is not fixed;
        num_params counts trainable parameters, so a frozen layer has 0.

    Raises:
        UserError: the images are too small for the network's poolings.
    """
    return LAYERS[type(architecture)](architecture, **sizes)


def num_params(rows: Sequence[Row]) -> int:
    """Trainable parameters of all layers of a `table`."""
    return sum(row["num_params"] for row in rows)
