"""One row per layer of a network that is followed from its input."""

from collections.abc import Sequence
from typing import Any

from kerasdistill.budget import conv_params, dense_params
from kerasdistill.errors import UserError

Row = dict[str, Any]


class Rows:
    """Writes down a network's layers; `models.layers` has the same methods and builds.

    `x` is what the last layer puts out: here its shape, there a tensor.
    """

    def __init__(self, shape: Sequence[int | None], *, name: str = "image"):
        self.rows: list[Row] = []
        self.layer(name, "InputLayer", shape)

    def layer(
        self, name: str, kind: str, shape: Sequence[Any] | None = None, count: int = 0
    ) -> None:
        """A row; without a shape the layer keeps the one before it."""
        self.x = self.x if shape is None else tuple(shape)
        row = {"name": name, "kind": kind, "output_shape": list(self.x)}
        self.rows.append({**row, "num_params": count})

    @property
    def shape(self) -> tuple:
        """What the last layer puts out, without the batch."""
        return self.x

    def standardize(self, input_scale: float = 1.0) -> None:
        """Per-image standardisation, then a factor other than 1."""
        self.layer("standardize", "LayerNormalization")
        if input_scale != 1.0:
            self.layer("input_scale", "Rescaling")

    def normalize(self) -> None:
        """Channels by CIFAR-10's statistics."""
        self.layer("normalize", "Rescaling")

    def conv(
        self,
        name: str,
        filters: int,
        kernel: int,
        *,
        strides: int = 1,
        trainable: bool = True,
        bias: bool = False,
    ) -> None:
        """A same-padded convolution."""
        sides = [-(-side // strides) for side in self.x[:2]]
        count = conv_params(self.shape[-1], filters, kernel=kernel, bias=bias)
        self.layer(name, "Conv2D", (*sides, filters), count * trainable)

    def conv_relu(self, name: str, filters: int, kernel: int) -> None:
        """A same-padded convolution with a bias and ReLU."""
        self.conv(name, filters, kernel, bias=True)

    def max_pool(self, name: str, size: int = 2, stride: int | None = None) -> None:
        """Drops the remainder; the stride is the size by default."""
        self._pool(name, "MaxPooling2D", size, stride or size)

    def average_pool(self, name: str) -> None:
        """2x2, drops the remainder."""
        self._pool(name, "AveragePooling2D", 2, 2)

    def _pool(self, name: str, kind: str, size: int, stride: int) -> None:
        height, width = ((side - size) // stride + 1 for side in self.x[:2])
        if min(height, width) < 1:
            raise UserError(
                f"the images are too small for this network: {name} has "
                f"{self.x[0]}x{self.x[1]} pixels to pool; choose a larger `image_size`"
            )
        self.layer(name, kind, (height, width, self.shape[-1]))

    def norm_relu(self, name: str) -> None:
        """Batch normalisation with scale and offset, then ReLU."""
        self.layer(f"{name}_norm", "BatchNormalization", count=2 * self.shape[-1])
        self.layer(f"{name}_relu", "ReLU")

    def dropout(self, name: str, rate: float) -> None:
        """Dropout at any rate, 0 included."""
        self.layer(name, "Dropout")

    def add(self, name: str, shortcut: tuple) -> None:
        """The sum of `x` and another of its shape."""
        self.layer(name, "Add")

    def concatenate(self, name: str, before: tuple) -> None:
        """The channels of another, then those of `x`."""
        channels = before[-1] + self.shape[-1]
        self.layer(name, "Concatenate", (*before[:2], channels))

    def flatten(self) -> None:
        """All values of an image in a row."""
        height, width, channels = self.x
        self.layer("flatten", "Flatten", (height * width * channels,))

    def dense(
        self, name: str, units: int, activation: str | None = None, *, trainable=True
    ) -> None:
        """A dense layer with a bias."""
        count = dense_params(self.shape[-1], units)
        self.layer(name, "Dense", (units,), count * trainable)

    def logits(self, num_classes: int) -> None:
        """The last dense layer."""
        self.dense("logits", num_classes)

    def normed_logits(self, num_classes: int, *, trainable: bool = True) -> None:
        """Normalisation and ReLU, the mean over the image, a dense layer."""
        self.norm_relu("last")
        self.layer("pool", "GlobalAveragePooling2D", (self.shape[-1],))
        self.dense("logits", num_classes, trainable=trainable)
