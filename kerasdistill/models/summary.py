"""A model's layers and parameters."""

import math

import keras


def leaf_layers(model: keras.Model) -> list[keras.Layer]:
    """The model's layers, with those of models used as layers in their place."""
    leaves = []
    for layer in model.layers:
        leaves += leaf_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return leaves


def num_trainable(model: keras.Model) -> int:
    """Trainable parameters of the model; frozen layers are left out."""
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
