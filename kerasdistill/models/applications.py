"""Networks of Keras Applications, from pixels 0-255 to logits."""

import inspect
import sys
import warnings

import keras

from kerasdistill.errors import UserError, reason
from kerasdistill.models import loading, wrapping

PREFIX = "keras:"


def application(
    source: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    weights: str | None = None,
    seed: int = 0,
) -> tuple[keras.Model, list[str]]:
    """A network of `keras.applications`, from pixels 0-255 to logits; see
    `wrapping.adapt`.

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
    name, _, side = source.removeprefix(PREFIX).partition("@")
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
            loading.check_weights(weights)
            with warnings.catch_warnings():
                # Keras warns of layers that keep their random weights.
                warnings.simplefilter("error", UserWarning)
                network.load_weights(weights)
    except (ValueError, OSError, UserWarning) as error:
        raise UserError(
            f"{source} cannot be built for {num_classes} classes "
            f"({reason(error)[:200]}); try keras:{name}@SIDE, or other weights"
        ) from error
    function = sys.modules[build.__module__].preprocess_input
    shapes = {"image_shape": image_shape, "num_classes": num_classes}
    preprocess = wrapping.linear_preprocessing(function)
    model, steps = wrapping.adapt(network, **shapes, preprocess=preprocess)
    return model, [f"keras.applications.{name}", *steps]
