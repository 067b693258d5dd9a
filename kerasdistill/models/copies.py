"""Copies of a model with the same weights that compute in another way."""

import keras
import numpy as np

from kerasdistill.errors import UserError


def in_float32(model: keras.Model) -> keras.Model:
    """A copy of the same names and weights that computes in float32 throughout.

    The model is functional or sequential; models inside it are copied too.
    """

    def copy(layer: keras.Layer) -> keras.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    copied = keras.models.clone_model(model, clone_function=copy, recursive=True)
    copied.set_weights(model.get_weights())
    return copied


def fold_bottleneck(model: keras.Model) -> keras.Model:
    """A copy with the linear bottleneck merged into the layer behind it.

    Two linear maps in a row are one: x W1 W2 + (b1 W2 + b2). The paper leaves the
    bottleneck out when it counts layers for this reason (fact sheet A5). The product
    is formed in float64, so that the copy's logits are the model's up to the order
    of float32 sums; it has more weights.

    Raises:
        UserError: no dense layer without activation feeds a dense layer alone.
    """
    pair = _linear_pair(model)
    if pair is None:
        raise UserError(
            f"model {model.name} has no linear bottleneck: no dense layer without "
            "activation before another; leave out --fold-bottleneck"
        )
    bottleneck, behind = pair

    def call(layer: keras.Layer, inputs, *args, **kwargs):
        # Left out of the copy: the layer behind it sees what it saw.
        return inputs if layer.name == bottleneck.name else layer(inputs, **kwargs)

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
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
            "--fold-bottleneck"
        )
    return [each.astype(np.float32) for each in weights]
