"""DenseNet-BC (Huang et al. 2017; fact sheet B4)."""

import keras

from kerasdistill.models.layers import Layers
from kerasdistill.models.preprocessing import normalized
from kerasdistill.recipes.architectures import DenseNet
from kerasdistill.recipes.born_again_layers import BOTTLENECK


def build(
    architecture: DenseNet,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds a 3x3 convolution, three dense blocks with transitions, logits.

    A unit adds BN-ReLU-1x1-BN-ReLU-3x3 of all before it; a transition is
    BN-ReLU-1x1, followed by 2x2 average pooling where another block comes. (The
    paper's third transition has no block after it, and the mean over the image is
    the same with and without a pooling in between.)

    Args:
        architecture: stem, growths, transitions, weight decay.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.

    Returns:
        A model, [batch, *image_shape] -> float32 logits [batch, num_classes].
    """
    layers = Layers(seed, architecture.weight_decay, precision)
    inputs = keras.Input(image_shape, name="image")
    x = layers.conv(normalized(inputs), architecture.stem, 3, name="conv_1")
    for block, growths in enumerate(architecture.growths, start=1):
        for unit, growth in enumerate(growths, start=1):
            x = _unit(layers, x, growth, name=f"unit_{block}_{unit}")
        if block <= len(architecture.transitions):
            filters = architecture.transitions[block - 1]
            x = transition(layers, x, filters, name=f"transition_{block}")
        if block < len(architecture.growths):
            x = layers.halve(x, name=f"pool_{block}")
    logits = layers.logits(x, num_classes)
    return keras.Model(inputs, logits, name="densenet")


def transition(layers: Layers, x, filters: int, *, name: str):
    """BN-ReLU-1x1 to `filters` channels."""
    return layers.conv(layers.norm_relu(x, name=name), filters, 1, name=f"{name}_conv")


def _unit(layers: Layers, x, growth: int, *, name: str):
    y = layers.norm_relu(x, name=f"{name}_1")
    y = layers.conv(y, BOTTLENECK * growth, 1, name=f"{name}_conv_1")
    y = layers.norm_relu(y, name=f"{name}_2")
    y = layers.conv(y, growth, 3, name=f"{name}_conv_2")
    return layers.concatenate(x, y, name=name)
