"""Training a Wide-ResNet with our batch normalisation and dropout, or Keras' layers.

The same network, weights, batch and steps, in bfloat16.
"""

import timing  # isort: skip (first: it chooses the cores)

import keras
import numpy as np
import tensorflow as tf

from kerasdistill.models import fast_layers
from kerasdistill.models.build import build
from kerasdistill.recipes import born_again as recipes
from kerasdistill.training.distillation_models import HardLabelModel

BATCH = 128


def network(name: str) -> keras.Model:
    """The Wide-ResNet, with our layers."""
    return build(
        recipes.architecture(name),
        image_shape=(32, 32, 3),
        num_classes=10,
        seed=0,
        precision="mixed_bfloat16",
    )


def training(model: keras.Model, views: int):
    """A function that trains on a batch, over and over."""
    shell = HardLabelModel(model)
    shell.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True))
    generator = np.random.default_rng(0)
    batch = {
        "image": generator.integers(0, 256, (BATCH, 32, 32, 3), "uint8"),
        "label": generator.integers(0, 10, BATCH),
    }
    steps = -(-views // BATCH)
    batches = tf.data.Dataset.from_tensors(batch).cache().repeat(steps)

    def epoch() -> int:
        shell.fit(batches, epochs=1, verbose=0)
        return steps * BATCH

    return epoch


def main() -> None:
    """Measures and prints, a table for each network."""
    asked = timing.arguments(__doc__.splitlines()[0], views=2_560)
    for name in ("wide-resnet-16-1", "wide-resnet-28-1"):
        model = network(name)
        keras_norm = fast_layers.with_keras_layers(
            model, (fast_layers.BatchNormalization,)
        )
        keras_both = fast_layers.with_keras_layers(model)
        ways = {
            "ours": training(model, asked.views),
            "keras.layers.BatchNormalization": training(keras_norm, asked.views),
            "and keras.layers.Dropout": training(keras_both, asked.views),
        }
        measured = timing.rates(ways, rounds=asked.rounds)
        timing.show(f"training {name}", measured, as_json=asked.json)


if __name__ == "__main__":
    main()
