"""Wide-ResNets (Zagoruyko & Komodakis 2016; fact sheet B5)."""

import keras

from kerasdistill.models.layers import Layers
from kerasdistill.models.preprocessing import normalized
from kerasdistill.recipes.architectures import STAGES, WideResNet
from kerasdistill.recipes.born_again_layers import STEM


def build(
    architecture: WideResNet,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    precision: str = "float32",
) -> keras.Model:
    """Builds a 3x3 convolution of 16 filters, three stages of units, logits.

    Units are BN-ReLU-3x3-BN-ReLU-[dropout]-3x3; stages two and three begin with
    stride 2. Where the width changes, a 1x1 convolution of the activated input is
    the shortcut; Wide-ResNets of width 1 keep the identity in stage one.

    Args:
        architecture: units, width, dropout rate, weight decay.
        image_shape: height, width, channels of the images (pixels 0-255).
        num_classes: number of logits.
        seed: every layer derives its own from it.
        precision: a Keras dtype policy; preprocessing and logits stay float32.

    Returns:
        A model, [batch, *image_shape] -> float32 logits [batch, num_classes].
    """
    layers = Layers(seed, architecture.weight_decay, precision)
    inputs = keras.Input(image_shape, name="image")
    x = layers.conv(normalized(inputs), STEM, 3, name="conv_1")
    for stage in range(1, STAGES + 1):
        filters = STEM * architecture.width * 2 ** (stage - 1)
        for unit in range(1, architecture.units + 1):
            strides = 2 if stage > 1 and unit == 1 else 1
            name = f"unit_{stage}_{unit}"
            rate = architecture.dropout_rate
            x = wide_unit(layers, x, filters, strides=strides, rate=rate, name=name)
    logits = layers.logits(x, num_classes)
    return keras.Model(inputs, logits, name="wide_resnet")


def wide_unit(
    layers: Layers, x, filters: int, *, name: str, strides: int = 1, rate: float = 0.0
):
    """One unit of two 3x3 convolutions; the shortcut projects if the width changes."""
    active = layers.norm_relu(x, name=f"{name}_1")
    if x.shape[-1] != filters:
        x = layers.conv(active, filters, 1, strides=strides, name=f"{name}_shortcut")
    y = layers.conv(active, filters, 3, strides=strides, name=f"{name}_conv_1")
    y = layers.norm_relu(y, name=f"{name}_2")
    y = layers.dropout(y, rate, name=f"{name}_dropout")
    y = layers.conv(y, filters, 3, name=f"{name}_conv_2")
    return layers.add(y, x, name=name)
