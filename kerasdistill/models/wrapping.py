"""Other people's networks, made to take a data set's images and give logits.

What they need before and after (resizing, colour, their own scale of pixels, the
inverse of softmax or sigmoid) becomes layers of Keras' own around them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from kerasdistill.errors import UserError
from kerasdistill.models import plain

# Probabilities below it count as it: their logits are no less than log(1e-7) = -16.1.
FLOOR = 1e-7
AS_GIVEN = "as_given"  # the layer of what a model gives before it is made logits
_TO_GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow's


def _log(p):
    return ops.log(ops.maximum(p, FLOOR))


def _logit(p):
    p = ops.clip(p, FLOOR, 1 - FLOOR)
    return ops.log(p) - ops.log1p(-p)


#: What a model gives -> its inverse, float32 [batch, classes] to logits, and in words.
OUTPUTS: dict[str, tuple[Callable | None, str]] = {
    "logits": (None, ""),
    "probabilities": (_log, f"log of probabilities, at least {FLOOR:g}"),
    "sigmoid": (_logit, f"log(p/(1-p)) of sigmoids, {FLOOR:g} from 0 and 1 at least"),
}
#: Pixels that a model knows -> factor and offset that make them of pixels 0-255.
INPUTS: dict[str, tuple[float, float]] = {
    "0-255": (1.0, 0.0),
    "0-1": (1 / 255, 0.0),
    "minus1-1": (1 / 127.5, -1.0),
}


@dataclass(frozen=True)
class Convention:
    """What a model that somebody brought takes and gives.

    Attributes:
        output: a name in `OUTPUTS`: "logits", "probabilities" (a softmax's) or
            "sigmoid" (one for each class, or a single one of two classes).
        input: a name in `INPUTS`: the scale of its pixels.
        head: the name of the output, of a model with several.
    """

    output: str = "logits"
    input: str = "0-255"
    head: str | None = None

    def __post_init__(self) -> None:
        for value, names in ((self.output, OUTPUTS), (self.input, INPUTS)):
            if value not in names:
                raise UserError(f"{value!r} is not known; use {' or '.join(names)}")


def adapt(
    model: keras.Model,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    convention: Convention = Convention(),
    preprocess: keras.Layer | None = None,
    name: str = "adapted",
) -> tuple[keras.Model, list[str]]:
    """The model inside one that takes pixels 0-255 of `image_shape`, gives logits.

    Args:
        model: one image input [batch, height, width, 1 or 3], sides may be None;
            output [batch, classes], or [batch, 1] of two classes.
        image_shape: height, width, channels of the data set.
        num_classes: of the data set. A single output z of two classes becomes [0, z].
        convention: what the model takes and gives.
        preprocess: a layer between resizing and the model.
        name: of the new model.

    Returns:
        The model and what was put around the given one, in words; one that fits is
        returned itself.

    Raises:
        UserError: it takes no images, or gives no [batch, classes].
    """
    model, steps = plain.plain(model, head=convention.head)
    takes = model.input_shape
    image = keras.Input(image_shape, name="image")
    x, before = _as_taken(image, takes, convention)
    if preprocess is not None:
        x = preprocess(x)
        before.append(preprocess.name)
    x, after = _as_logits(model(x), num_classes, convention)
    steps += before + after
    if not before + after:
        return model, steps
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name), steps


def _as_taken(image, takes: tuple, convention: Convention):
    """Pixels 0-255 as the model takes them, and in words what was done."""
    x, steps = image, []
    if takes[3] != image.shape[3]:
        x = _colour(x, takes[3])
        steps.append("grey to RGB" if takes[3] == 3 else "RGB to grey")
    pairs = zip(takes[1:3], image.shape[1:3], strict=True)
    sides = tuple(given if wanted is None else wanted for wanted, given in pairs)
    if sides != tuple(image.shape[1:3]):
        # Not the layer Resizing: called without `training`, a model that has it runs
        # everything behind it in training mode (Keras 3.15).
        x = ops.image.resize(ops.cast(x, "float32"), sides, interpolation="bilinear")
        steps.append(f"resized to {sides[0]}x{sides[1]}, bilinear")
    if convention.input != "0-255":
        scale, offset = INPUTS[convention.input]
        x = keras.layers.Rescaling(scale, offset, dtype="float32", name="pixels")(x)
        steps.append(f"pixels {convention.input}")
    return x, steps


def _as_logits(x, num_classes: int, convention: Convention):
    """What the model gives as logits, and in words what was done."""
    steps = []
    inverse, words = OUTPUTS[convention.output]
    one_of_two = num_classes == 2 and x.shape[1] == 1
    if inverse or one_of_two:
        x = keras.layers.Activation("linear", dtype="float32", name=AS_GIVEN)(x)
    if one_of_two and convention.output == "probabilities":
        inverse, words = OUTPUTS["sigmoid"]  # of the second class; no softmax has one
    if inverse:
        x = inverse(x)
        steps.append(words)
    if one_of_two:
        x = keras.layers.Concatenate(dtype="float32")([ops.zeros_like(x), x])
        steps.append("[0, z] of a single output z")
    return x, steps


def linear_preprocessing(function) -> keras.Layer:
    """A network's own preprocessing, which maps each pixel's channels linearly."""
    probes = np.concatenate([np.zeros((1, 3)), 255.0 * np.eye(3)])
    images = probes.reshape(4, 1, 1, 3).astype("f4")
    outputs = np.array(function(images)).reshape(4, 3)
    slopes = (outputs[1:] - outputs[0]) / 255
    return _mixing("preprocess_input", slopes, outputs[0])


def _colour(x, channels: int):
    if channels == 3:
        name = "grey_to_rgb"
        return keras.layers.Concatenate(dtype="float32", name=name)([x, x, x])
    return _mixing("rgb_to_grey", np.reshape(_TO_GREY, (3, 1)))(x)


def _mixing(name: str, slopes: np.ndarray, *offsets: np.ndarray) -> keras.Layer:
    """Each pixel's channels times `slopes` [3, channels], plus offsets, if any."""
    layer = keras.layers.Conv2D(
        slopes.shape[1],
        1,
        use_bias=bool(offsets),
        trainable=False,
        dtype="float32",
        name=name,
    )
    layer.build((None, None, None, 3))
    layer.set_weights([slopes[None, None], *offsets])
    return layer
