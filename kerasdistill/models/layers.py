"""What the second paper's networks are made of: convolutions under one set of rules."""

from dataclasses import dataclass

import keras

from kerasdistill.models.fast_layers import BatchNormalization, Dropout
from kerasdistill.seeds import derive_seed

# The reference implementations' (Torch's) batch normalisation.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


@dataclass(frozen=True)
class Layers:
    """Makes the layers of one network.

    Convolutions have no bias and He's normal initialisation by fan-out, the last
    layer Torch's uniform one; all weights, those of normalisation too, bear the
    penalty weight_decay/2 * sum(w^2), as in the reference implementations.

    Attributes:
        seed: every layer derives its own from it.
        weight_decay: 0 leaves the penalty out.
        precision: a Keras dtype policy.
    """

    seed: int
    weight_decay: float
    precision: str = "float32"

    def conv(self, x, filters: int, kernel: int, *, name: str, **options):
        """A same-padded convolution; options are `strides` and `trainable`."""
        start = self._scaled(2.0, "fan_out", "untruncated_normal", name)
        return keras.layers.Conv2D(
            filters,
            kernel,
            padding="same",
            use_bias=False,
            kernel_initializer=start,
            kernel_regularizer=self._penalty(),
            dtype=self.precision,
            name=name,
            **options,
        )(x)

    def norm_relu(self, x, *, name: str):
        """Batch normalisation, over all replicas, then ReLU."""
        x = BatchNormalization(
            **BATCH_NORM,
            beta_regularizer=self._penalty(),
            gamma_regularizer=self._penalty(),
            # Only TensorFlow knows it; with one replica it changes nothing.
            synchronized=keras.backend.backend() == "tensorflow",
            dtype=self.precision,
            name=f"{name}_norm",
        )(x)
        return keras.layers.ReLU(dtype=self.precision, name=f"{name}_relu")(x)

    def dropout(self, x, rate: float, *, name: str):
        """Dropout, or nothing at rate 0."""
        if rate == 0:
            return x
        own = derive_seed(self.seed, name)
        return Dropout(rate, seed=own, dtype=self.precision, name=name)(x)

    def add(self, x, shortcut, *, name: str):
        """The sum of a unit's output and its input."""
        return keras.layers.Add(dtype=self.precision, name=name)([x, shortcut])

    def concatenate(self, x, added, *, name: str):
        """Channels of both."""
        return keras.layers.Concatenate(dtype=self.precision, name=name)([x, added])

    def halve(self, x, *, name: str):
        """2x2 average pooling."""
        return keras.layers.AveragePooling2D(2, dtype=self.precision, name=name)(x)

    def logits(self, x, num_classes: int, *, trainable: bool = True):
        """Final normalisation and ReLU, mean over the image, float32 logits."""
        x = self.norm_relu(x, name="last")
        x = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
        start = self._scaled(1 / 3, "fan_in", "uniform", "logits")
        return keras.layers.Dense(
            num_classes,
            kernel_initializer=start,
            kernel_regularizer=self._penalty(),
            bias_regularizer=self._penalty(),
            trainable=trainable,
            dtype="float32",
            name="logits",
        )(x)

    def _penalty(self):
        return (
            keras.regularizers.L2(self.weight_decay / 2) if self.weight_decay else None
        )

    def _scaled(self, scale: float, mode: str, distribution: str, name: str):
        return keras.initializers.VarianceScaling(
            scale, mode, distribution, seed=derive_seed(self.seed, name, "weights")
        )
