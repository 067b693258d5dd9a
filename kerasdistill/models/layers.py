"""The papers' image networks in Keras' layers, by the methods of `recipes.rows.Rows`.

What a method makes is said there; here stand initial values, penalties and formats.
Every network takes pixels 0-255 and is made of stock layers, or of ours that
`fast_layers.with_keras_layers` replaces, so that a saved model loads without our code.
"""

import statistics
from collections.abc import Callable
from typing import Any

import keras

from kerasdistill.budget import ImageShape
from kerasdistill.models.fast_layers import BatchNormalization, Dropout, max_pooling
from kerasdistill.recipes.layers import LAYERS
from kerasdistill.seeds import derive_seed

# Of CIFAR-10's training pixels, 0-255 (docs/papers/born-again.md).
PIXEL_MEANS = (125.3, 123.0, 113.9)
PIXEL_DEVIATIONS = (63.0, 62.1, 66.7)

# The reference implementations' (Torch's) batch normalisation.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


class Layers:
    """Builds a network layer by layer; `x` is what the last one puts out.

    Args:
        architecture: of a type among `recipes.layers.LAYERS`.
        image_shape: height, width, channels of the images.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.
    """

    def __init__(
        self, architecture: Any, *, image_shape: ImageShape, seed: int, precision: str
    ):
        self.image = self.x = keras.Input(image_shape, name="image")
        self.architecture = architecture
        self.seed = seed
        self.precision = precision

    def model(self, name: str, num_classes: int) -> keras.Model:
        """The whole network, [batch, *image_shape] -> float32 [batch, num_classes]."""
        LAYERS[type(self.architecture)](self, self.architecture, num_classes)
        return keras.Model(self.image, self.x, name=name)

    @property
    def shape(self) -> tuple:
        return self.x.shape[1:]

    def layer(
        self, kind: Callable, name: str, *args, dtype: str = "", **options
    ) -> None:
        """A layer on top of the last one."""
        dtype = dtype or self.precision
        self.x = kind(*args, dtype=dtype, name=name, **options)(self.x)

    def max_pool(self, name: str, size: int = 2, stride: int | None = None) -> None:
        self.layer(max_pooling, name, size, strides=stride)

    def average_pool(self, name: str) -> None:
        self.layer(keras.layers.AveragePooling2D, name, 2)

    def _penalty(self) -> keras.Regularizer | None:
        """weight_decay/2 * sum(w^2), or nothing at 0."""
        decay = self.architecture.weight_decay
        return keras.regularizers.L2(decay / 2) if decay else None

    def _scaled(self, name: str, scale: float, mode: str, distribution: str):
        own = derive_seed(self.seed, name, "weights")
        return keras.initializers.VarianceScaling(scale, mode, distribution, seed=own)


class Urban(Layers):
    """Urban's rules: Glorot-uniform weights times `init_scale`, the penalty on kernels.

    Biases begin at 0.
    """

    def standardize(self, input_scale: float = 1.0) -> None:
        """Per-image standardisation, then a factor other than 1.

        Each image minus its own mean, divided by its own standard deviation over all
        its values. The epsilon (in squared pixels) only guards images of one colour.
        """
        self.layer(
            keras.layers.LayerNormalization,
            "standardize",
            axis=(1, 2, 3),
            center=False,
            scale=False,
            epsilon=1e-3,
            dtype="float32",
        )
        if input_scale != 1.0:
            scaling = keras.layers.Rescaling
            self.layer(scaling, "input_scale", input_scale, dtype="float32")

    def conv_relu(self, name: str, filters: int, kernel: int) -> None:
        options = {"padding": "same", "activation": "relu", **self._weights(name)}
        self.layer(keras.layers.Conv2D, name, filters, kernel, **options)

    def dropout(self, name: str, rate: float) -> None:
        own = derive_seed(self.seed, name)
        self.layer(keras.layers.Dropout, name, rate, seed=own)

    def flatten(self) -> None:
        self.layer(keras.layers.Flatten, "flatten")

    def dense(self, name: str, units: int, activation: str | None = None) -> None:
        options = {"activation": activation, **self._weights(name)}
        self.layer(keras.layers.Dense, name, units, **options)

    def logits(self, num_classes: int) -> None:
        options = {"dtype": "float32", **self._weights("logits")}
        self.layer(keras.layers.Dense, "logits", num_classes, **options)

    def _weights(self, name: str) -> dict[str, Any]:
        scale = self.architecture.init_scale**2
        glorot = self._scaled(name, scale, "fan_avg", "uniform")
        return {"kernel_initializer": glorot, "kernel_regularizer": self._penalty()}


class BornAgain(Layers):
    """The second paper's rules: convolutions without biases, a penalty on all weights.

    He's normal initialisation by fan-out, the last layer's is Torch's uniform one; the
    penalty counts those of normalisation too, as in the reference implementations.
    """

    def normalize(self) -> None:
        """Mean and deviation of every channel, by CIFAR-10's statistics; a single
        channel has the means of the three's."""
        means, deviations = PIXEL_MEANS, PIXEL_DEVIATIONS
        if self.shape[-1] == 1:
            means, deviations = [statistics.mean(means)], [statistics.mean(deviations)]
        pairs = zip(means, deviations, strict=True)
        self.layer(
            keras.layers.Rescaling,
            "normalize",
            scale=[1 / deviation for deviation in deviations],
            offset=[-mean / deviation for mean, deviation in pairs],
            dtype="float32",
        )

    def conv(self, name: str, filters: int, kernel: int, **options) -> None:
        self.layer(
            keras.layers.Conv2D,
            name,
            filters,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer=self._scaled(name, 2.0, "fan_out", "untruncated_normal"),
            kernel_regularizer=self._penalty(),
            **options,
        )

    def norm_relu(self, name: str) -> None:
        self.layer(
            BatchNormalization,
            f"{name}_norm",
            **BATCH_NORM,
            beta_regularizer=self._penalty(),
            gamma_regularizer=self._penalty(),
            # Only TensorFlow knows it; with one replica it changes nothing.
            synchronized=keras.backend.backend() == "tensorflow",
        )
        self.layer(keras.layers.ReLU, f"{name}_relu")

    def dropout(self, name: str, rate: float) -> None:
        self.layer(Dropout, name, rate, seed=derive_seed(self.seed, name))

    def add(self, name: str, shortcut: keras.KerasTensor) -> None:
        self.x = keras.layers.Add(dtype=self.precision, name=name)([self.x, shortcut])

    def concatenate(self, name: str, before: keras.KerasTensor) -> None:
        join = keras.layers.Concatenate(dtype=self.precision, name=name)
        self.x = join([before, self.x])

    def normed_logits(self, num_classes: int, *, trainable: bool = True) -> None:
        self.norm_relu("last")
        self.layer(keras.layers.GlobalAveragePooling2D, "pool", dtype="float32")
        self.layer(
            keras.layers.Dense,
            "logits",
            num_classes,
            kernel_initializer=self._scaled("logits", 1 / 3, "fan_in", "uniform"),
            kernel_regularizer=self._penalty(),
            bias_regularizer=self._penalty(),
            trainable=trainable,
            dtype="float32",
        )
