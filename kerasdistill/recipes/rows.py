"""One row per layer of a network that is followed from its input."""

from collections.abc import Sequence
from typing import Any

from kerasdistill.budget import conv_params, dense_params
from kerasdistill.errors import UserError

Row = dict[str, Any]


class Rows:
    """Follows a network from its input; `shape` is what the last layer puts out."""

    def __init__(self, shape: Sequence[int | None], *, name: str = "image"):
        self.rows: list[Row] = []
        self.add(name, "InputLayer", shape)

    def add(
        self, name: str, kind: str, shape: Sequence[Any] | None = None, count: int = 0
    ) -> None:
        """A row; without a shape the layer keeps the one before it."""
        self.shape = self.shape if shape is None else tuple(shape)
        row = {"name": name, "kind": kind, "output_shape": list(self.shape)}
        self.rows.append({**row, "num_params": count})

    def conv(
        self,
        name: str,
        filters: int,
        kernel: int,
        *,
        strides: int = 1,
        bias: bool = False,
        trainable: bool = True,
    ) -> None:
        """A same-padded convolution."""
        sides = [-(-side // strides) for side in self.shape[:2]]
        count = conv_params(self.shape[-1], filters, kernel=kernel, bias=bias)
        self.add(name, "Conv2D", (*sides, filters), count * trainable)

    def pool(self, name: str, kind: str, *, size: int = 2, stride: int = 0) -> None:
        """A pooling that drops the remainder; its stride is its size by default."""
        height, width = (
            (side - size) // (stride or size) + 1 for side in self.shape[:2]
        )
        if min(height, width) < 1:
            raise UserError(
                f"the images are too small for this network: {name} has "
                f"{self.shape[0]}x{self.shape[1]} pixels to pool; choose a larger "
                "--image-size"
            )
        self.add(name, kind, (height, width, self.shape[-1]))

    def norm_relu(self, name: str) -> None:
        """Batch normalisation with scale and offset, then ReLU."""
        self.add(f"{name}_norm", "BatchNormalization", count=2 * self.shape[-1])
        self.add(f"{name}_relu", "ReLU")

    def dense(self, name: str, units: int, *, trainable: bool = True) -> None:
        """A dense layer with a bias."""
        count = dense_params(self.shape[-1], units)
        self.add(name, "Dense", (units,), count * trainable)

    def flatten(self) -> None:
        """All values of an image in a row."""
        height, width, channels = self.shape
        self.add("flatten", "Flatten", (height * width * channels,))

    def logits(self, num_classes: int, *, trainable: bool = True) -> list[Row]:
        """The end of the second paper's networks."""
        self.norm_relu("last")
        self.add("pool", "GlobalAveragePooling2D", self.shape[-1:])
        self.dense("logits", num_classes, trainable=trainable)
        return self.rows
