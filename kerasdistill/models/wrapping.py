"""Other people's networks, made to take a data set's images and give logits.

What they need before and after (resizing, colour, preprocessing, the logarithm of
probabilities) becomes layers of Keras' own around them.
"""

import inspect
import sys
import warnings

import keras
import numpy as np
from keras import ops

from kerasdistill.errors import UserError

APPLICATION = "keras:"
OUTPUTS = ("logits", "probabilities")
# Probabilities below it count as it: their logits are no less than log(1e-7) = -16.1.
FLOOR = 1e-7
_TO_GREY = (0.299, 0.587, 0.114)  # ITU-R 601-2, as Pillow's


def adapt(
    model: keras.Model,
    *,
    image_shape: tuple[int, int, int],
    output: str = "logits",
    preprocess: keras.Layer | None = None,
    name: str = "adapted",
) -> tuple[keras.Model, list[str]]:
    """The model inside one that takes pixels 0-255 of `image_shape`, gives logits.

    Args:
        model: one image input [batch, height, width, 1 or 3], sides may be None;
            output [batch, classes].
        image_shape: height, width, channels of the data set.
        output: "probabilities" are turned into logits: log(max(p, FLOOR)).
        preprocess: a layer between resizing and the model.
        name: of the new model.

    Returns:
        The model and what was put around the given one, in words; one that fits is
        returned itself.

    Raises:
        UserError: it takes no images, or gives no [batch, classes].
    """
    takes, gives = model.input_shape, model.output_shape
    if not _shape(takes, 4) or not _shape(gives, 2) or takes[3] not in (1, 3):
        raise UserError(
            f"model {model.name} maps {takes} to {gives}; expected images [batch, "
            "height, width, 1 or 3] to logits [batch, classes]"
        )
    steps = []
    image = keras.Input(image_shape, name="image")
    x = image
    if takes[3] != image_shape[2]:
        x = _colour(x, takes[3])
        steps.append("grey to RGB" if takes[3] == 3 else "RGB to grey")
    pairs = zip(takes[1:3], image_shape[:2], strict=True)
    sides = tuple(given if wanted is None else wanted for wanted, given in pairs)
    if sides != tuple(image_shape[:2]):
        # Not the layer Resizing: called without `training`, a model that has it runs
        # everything behind it in training mode (Keras 3.15).
        x = ops.image.resize(ops.cast(x, "float32"), sides, interpolation="bilinear")
        steps.append(f"resized to {sides[0]}x{sides[1]}, bilinear")
    if preprocess is not None:
        x = preprocess(x)
        steps.append(preprocess.name)
    x = model(x)
    if output == "probabilities":
        x = ops.log(ops.maximum(ops.cast(x, "float32"), FLOOR))
        steps.append(f"log of probabilities, at least {FLOOR:g}")
    if not steps:
        return model, steps
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name), steps


def application(
    source: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    weights: str | None = None,
    seed: int = 0,
) -> tuple[keras.Model, list[str]]:
    """A network of `keras.applications`, from pixels 0-255 to logits; see `adapt`.

    Args:
        source: "keras:NAME" or "keras:NAME@SIDE": the side of the images it sees
            (default: the data set's).
        image_shape, num_classes: of the data set.
        weights: a file of its weights (None: they are random).
        seed: of random weights; it sets Keras' own.

    Raises:
        UserError: no such network, one that is too large for the images, or weights
            of another network or number of classes.
    """
    name, _, side = source.removeprefix(APPLICATION).partition("@")
    build = getattr(keras.applications, name, None)
    if not inspect.isfunction(build) or (side and not side.isdecimal()):
        networks = inspect.getmembers(keras.applications, inspect.isfunction)
        raise UserError(
            f"{source!r} is not known; expected keras:NAME or keras:NAME@SIDE with a "
            f"NAME among {', '.join(name for name, _ in networks)}"
        )
    sides = (int(side),) * 2 if side else tuple(image_shape[:2])
    keras.utils.set_random_seed(seed)
    try:
        options = {"classes": num_classes, "classifier_activation": None}
        network = build(weights=None, input_shape=(*sides, 3), **options)
        if weights is not None:
            with warnings.catch_warnings():
                # Keras warns of layers that keep their random weights.
                warnings.simplefilter("error", UserWarning)
                network.load_weights(weights)
    except (ValueError, OSError, UserWarning) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"{source} cannot be built for {num_classes} classes ({reason}); try "
            f"keras:{name}@SIDE, or other weights"
        ) from error
    preprocess = _preprocessing(sys.modules[build.__module__].preprocess_input)
    model, steps = adapt(network, image_shape=image_shape, preprocess=preprocess)
    return model, [f"keras.applications.{name}", *steps]


def _preprocessing(function) -> keras.Layer:
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


def _shape(shape, rank: int) -> bool:
    return isinstance(shape, tuple) and len(shape) == rank
