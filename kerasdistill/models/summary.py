"""What a model is made of, as plain values."""

import math
from typing import Any

import keras


def layer_table(model: keras.Model) -> list[dict[str, Any]]:
    """One row per layer, in order: name, kind, output_shape, num_params.

    output_shape leaves out the batch (null for a layer without a fixed output, a
    list of shapes for one with several); num_params counts trainable weights. A
    model used as a layer is one row.
    """
    return [
        {
            "name": layer.name,
            "kind": type(layer).__name__,
            "output_shape": _output_shape(layer),
            "num_params": _count(layer.trainable_variables),
        }
        for layer in model.layers
    ]


def leaf_layers(model: keras.Model) -> list[keras.Layer]:
    """The model's layers, with those of models used as layers in their place."""
    found = []
    for layer in model.layers:
        found += leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def num_trainable(model: keras.Model) -> int:
    """Trainable parameters of the model; frozen layers are left out."""
    return _count(model.trainable_variables)


def _count(variables: list) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _output_shape(layer: keras.Layer) -> list | None:
    try:
        output = layer.output
    except AttributeError:  # the layer was never called on a symbolic tensor
        return None
    if isinstance(output, list | tuple):
        return [list(tensor.shape[1:]) for tensor in output]
    return list(output.shape[1:])
