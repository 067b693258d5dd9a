"""The layers every model of ours starts with: they take pixels 0-255."""

import keras


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
