"""Copies of a model with the same weights that compute in another way."""

import inspect
from collections.abc import Callable

import keras
import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.models.fast_layers import Dropout
from kerasdistill.models.summary import leaf_layers

# Keras' layers that return what they are given, but in training. Of its Random…
# layers, RandomCrop alone also acts afterwards: it crops the centre.
_AUGMENTS = {
    *(keras.layers.AugMix, keras.layers.CutMix, keras.layers.MixUp),
    *(keras.layers.RandAugment, keras.layers.Solarization),
    *(kind for name, kind in vars(keras.layers).items() if name.startswith("Random")),
} - {keras.layers.RandomCrop}
_TRAINS_ONLY = _AUGMENTS | {
    *(keras.layers.Dropout, keras.layers.AlphaDropout, Dropout),
    *(keras.layers.GaussianDropout, keras.layers.GaussianNoise),
    *(vars(keras.layers)[f"SpatialDropout{rank}D"] for rank in (1, 2, 3)),
}

_BY_ONE = {"scale": 1.0, "offset": 0.0}


def without_training_layers(model: keras.Model) -> keras.Model:
    """A copy whose augmentation, dropout and noise layers pass on what they get.

    Keras' image layers (Resizing too) train unless they are told not to, and so does
    all behind them: called without `training`, the model would; the copy is told not to
    inside. A model without any of these layers is returned itself. Subclasses of Keras'
    layers are left as they are, because what they do in inference is their own.

    Args:
        model: functional or sequential, models inside it included.
    """
    if not any(
        type(layer) in _TRAINS_ONLY or _trains_unasked(layer)
        for layer in leaf_layers(model)
    ):
        return model
    integers = any("int" in image.dtype for image in model.inputs)

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if type(layer) not in _TRAINS_ONLY:
            return type(layer).from_config(config)
        kept = {name: config[name] for name in ("name", "dtype")}
        if integers and type(layer) in _AUGMENTS:  # it also makes them floats
            return keras.layers.Rescaling.from_config({**kept, **_BY_ONE})
        return keras.layers.Identity.from_config(kept)

    def call(layer: keras.Operation, *args, **kwargs):
        told = {"training": False} if isinstance(layer, keras.Layer) else {}
        return layer(*args, **{**kwargs, **told})

    return _copied(_functional(model), copy, call_function=call)


def _trains_unasked(layer: keras.Layer) -> bool:
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True


def _functional(model: keras.Model) -> keras.Model:
    if not isinstance(model, keras.Sequential):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def in_float32(model: keras.Model) -> keras.Model:
    """A copy of the same names and weights that computes in float32 throughout.

    The model is functional or sequential; models inside it are copied too.
    """

    def copy(layer: keras.Operation) -> keras.Operation:
        # An operation between layers has no dtype of its own.
        own = {"dtype": "float32"} if isinstance(layer, keras.Layer) else {}
        return type(layer).from_config({**layer.get_config(), **own})

    return _copied(model, copy)


def _copied(
    model: keras.Model, copy: Callable[[keras.Layer], keras.Layer], **options
) -> keras.Model:
    options |= {"clone_function": copy, "recursive": True}
    copied = keras.models.clone_model(model, **options)
    copied.set_weights(model.get_weights())
    return copied


def fold_bottleneck(model: keras.Model) -> keras.Model:
    """A copy with the linear bottleneck merged into the layer behind it.

    Two linear maps in a row are one: x W1 W2 + (b1 W2 + b2). The paper leaves the
    bottleneck out when it counts layers for this reason (docs/papers/urban2017.md).
    The product is formed in float64, so that the copy's logits are the model's up to
    the order of float32 sums; it has more weights.

    Raises:
        UserError: no dense layer without activation feeds a dense layer alone.
    """
    pair = _linear_pair(model)
    if pair is None:
        raise UserError(
            f"model {model.name} has no linear bottleneck: no dense layer without "
            "activation before another; leave out `fold_bottleneck`"
        )
    bottleneck, behind = pair

    def call(layer: keras.Layer, inputs, *args, **kwargs):
        # Left out of the copy: the layer behind it sees what it saw.
        return inputs if layer.name == bottleneck.name else layer(inputs, **kwargs)

    model = _functional(model)
    copied = keras.models.clone_model(model, call_function=call)
    for layer in copied.layers:
        if layer.name == behind.name:
            layer.set_weights(_product(bottleneck, behind))
        else:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copied


def _linear_pair(
    model: keras.Model,
) -> tuple[keras.layers.Dense, keras.layers.Dense] | None:
    """The first dense layer without activation that feeds one dense layer alone."""
    outputs = {id(tensor) for tensor in model.outputs}
    readers: dict[int, list[keras.Layer]] = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            for tensor in keras.tree.flatten(layer.input):
                readers.setdefault(id(tensor), []).append(layer)
    for layer in model.layers:
        if not _linear(layer) or id(layer.output) in outputs:
            continue
        behind = readers.get(id(layer.output), [])
        if len(behind) == 1 and type(behind[0]) is keras.layers.Dense:
            return layer, behind[0]
    return None


def _linear(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Dense
        and layer.activation is keras.activations.linear
    )


def _product(
    bottleneck: keras.layers.Dense, behind: keras.layers.Dense
) -> list[np.ndarray]:
    first = [np.asarray(each, np.float64) for each in bottleneck.get_weights()]
    second = [np.asarray(each, np.float64) for each in behind.get_weights()]
    weights = [first[0] @ second[0]]
    if behind.use_bias:
        bias = second[1]
        weights.append(bias + first[1] @ second[0] if bottleneck.use_bias else bias)
    elif bottleneck.use_bias:
        raise UserError(
            f"layer {behind.name} has no bias to take the bottleneck's; leave out "
            "`fold_bottleneck`"
        )
    return [each.astype(np.float32) for each in weights]
