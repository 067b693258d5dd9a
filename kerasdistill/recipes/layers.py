"""What a network's layers are and how many parameters they have, by arithmetic.

The rows are those that Keras would list of the network that `models` builds.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kerasdistill.budget import ImageShape
from kerasdistill.recipes import architectures, base
from kerasdistill.recipes import born_again_layers as born_again
from kerasdistill.recipes import ptb_layers as ptb
from kerasdistill.recipes import urban2017_layers as urban
from kerasdistill.recipes.rows import Row, Rows

# Each takes a `Rows`, or its like that builds, the network and the number of classes
# or words.
LAYERS: dict[type, Callable[..., None]] = {
    base.CnnTeacher: urban.cnn_teacher,
    base.FastTeacher: urban.fast_teacher,
    base.Student: urban.student,
    architectures.WideResNet: born_again.wide_resnet,
    architectures.DenseNet: born_again.densenet,
    architectures.BanResNet: born_again.ban_resnet,
    architectures.Lstm: ptb.lstm,
    architectures.CharCnnLstm: ptb.char_cnn_lstm,
}


def table(
    architecture: Any, *, image_shape: ImageShape | None = None, **sizes: int
) -> list[Row]:
    """One row per layer, in Keras' order: name, kind, output_shape, num_params.

    Args:
        architecture: a dataclass among the keys of `LAYERS`.
        image_shape: height, width, channels; None for a language model.
        sizes: num_classes of a network on images, num_words of a language model.

    Returns:
        output_shape is without the batch, None is a length that is not fixed;
        num_params counts trainable parameters, so a frozen layer has 0.

    Raises:
        UserError: the images are too small for the network's poolings.
    """
    rows = Rows(image_shape) if image_shape else Rows((None,), name="word_ids")
    LAYERS[type(architecture)](rows, architecture, **sizes)
    return rows.rows


def num_params(rows: Sequence[Row]) -> int:
    """Trainable parameters of all layers of a `table`."""
    return sum(row["num_params"] for row in rows)
