"""The layers every model of ours starts with: they take pixels 0-255."""

import statistics

import keras

# Of CIFAR-10's training pixels, 0-255 (fact sheet B3).
PIXEL_MEANS = (125.3, 123.0, 113.9)
PIXEL_DEVIATIONS = (63.0, 62.1, 66.7)


def standardized(inputs, *, input_scale: float = 1.0):
    """Per-image standardisation (fact sheet A2), then the student's input scale.

    Args:
        inputs: pixels 0-255, [batch, height, width, channels].
        input_scale: factor on the standardised image (1 leaves it out).

    Returns:
        float32 tensor of the same shape: each image minus its own mean, divided
        by its own standard deviation over all its values. The epsilon (in squared
        pixels) only guards images of one colour. A stock layer, so that a saved
        model loads without our code.
    """
    x = keras.layers.LayerNormalization(
        axis=(1, 2, 3),
        center=False,
        scale=False,
        epsilon=1e-3,
        dtype="float32",
        name="standardize",
    )(inputs)
    if input_scale != 1.0:
        x = keras.layers.Rescaling(input_scale, dtype="float32", name="input_scale")(x)
    return x


def normalized(inputs):
    """Mean/std normalisation of every channel, by CIFAR-10's statistics.

    Args:
        inputs: pixels 0-255, [batch, height, width, 3 or 1]; a single channel has the
            means of the three's statistics.

    Returns:
        float32 tensor of the same shape, by a stock layer.
    """
    means, deviations = PIXEL_MEANS, PIXEL_DEVIATIONS
    if inputs.shape[-1] == 1:
        means, deviations = [statistics.mean(means)], [statistics.mean(deviations)]
    return keras.layers.Rescaling(
        scale=[1 / deviation for deviation in deviations],
        offset=[-m / deviation for m, deviation in zip(means, deviations, strict=True)],
        dtype="float32",
        name="normalize",
    )(inputs)
