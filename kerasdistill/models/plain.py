"""A Keras model of any build as one from a batch of images to one tensor."""

from typing import Any

import keras

from kerasdistill.errors import UserError
from kerasdistill.models.saved import head_of
from kerasdistill.models.summary import leaf_layers


def plain(
    model: keras.Model, *, head: str | None = None
) -> tuple[keras.Model, list[str]]:
    """The model with one image input and one output, which may be those of lists or
    dicts, for batches of any size.

    Args:
        model: takes images [batch, height, width, 1 or 3], sides may be None.
        head: name of the output, of a model that has several.

    Returns:
        The model, which is the given one where that is plain already, and in words
        what was changed.

    Raises:
        UserError: it takes or gives something else.
    """
    steps = []
    if isinstance(model, keras.Sequential) and not model.built:
        raise UserError(
            f"model {model.name} was saved before it was built and has no weights; "
            "call it on a batch, or give it an Input, and save it again"
        )
    if getattr(model, "inputs", None):  # else a class of its own, which is called
        if len(model.inputs) != 1:
            names = ", ".join(tensor.name for tensor in model.inputs)
            raise UserError(
                f"model {model.name} has the inputs {names}, expected images alone"
            )
        output = _output(model, head)
        if len(model.outputs) > 1:
            steps.append(f"its output {head}")
        nested = not isinstance(model, keras.Sequential) and (
            model.input is not model.inputs[0] or model.output is not output
        )
        if nested:
            model = keras.Model(model.inputs[0], output, name=model.name)
        if model.inputs[0].shape[0] is not None:
            model = _for_any_batch(model)
            steps.append("batches of any size")
        elif nested and not steps:
            steps.append("one input, one output")
    elif head is not None:
        raise UserError(
            f"model {model.name} has no outputs by name; leave out `convention.head`"
        )
    _check(model)
    return model, steps


def _output(model: keras.Model, head: str | None) -> Any:
    if head is None and len(model.outputs) == 1:
        return model.outputs[0]
    names = list(model.output_names)
    if isinstance(model.output, dict):  # flat outputs come in the order of its keys
        names = sorted(model.output)
    chosen = head_of(names, head, what=f"model {model.name}")
    return model.outputs[names.index(chosen)]


def _for_any_batch(model: keras.Model) -> keras.Model:
    """A copy whose inputs leave the batch's size open."""
    try:
        copy = type(model).from_config(_opened(model.get_config()))
        copy.set_weights(model.get_weights())
    except (ValueError, TypeError) as error:
        size = model.inputs[0].shape[0]
        raise UserError(
            f"model {model.name} takes batches of {size} images alone and cannot be "
            "built for others; save it with Input(shape), without batch_size"
        ) from error
    return copy


def _opened(config: Any) -> Any:
    """A model's description with every fixed batch size left open."""
    if isinstance(config, dict):
        opened = {name: _opened(value) for name, value in config.items()}
        for name in ("batch_shape", "batch_input_shape"):
            if isinstance(opened.get(name), list | tuple):
                opened[name] = (None, *opened[name][1:])
        return opened
    if isinstance(config, list | tuple):
        return type(config)(_opened(value) for value in config)
    return config


def _check(model: keras.Model) -> None:
    """UserError unless it maps images, channels last, to [batch, classes]."""
    takes, gives = model.input_shape, model.output_shape
    images = isinstance(takes, tuple) and len(takes) == 4
    first = any(
        getattr(layer, "data_format", None) == "channels_first"
        for layer in leaf_layers(model)
    )
    if first or (images and takes[3] not in (1, 3) and takes[1] in (1, 3)):
        raise UserError(
            f"model {model.name} takes {takes}, channels first; expected channels "
            "last, [batch, height, width, 1 or 3]: put keras.layers.Permute((3, 1, 2)) "
            "before it and save both as one model"
        )
    if not images or takes[3] not in (1, 3):
        raise UserError(
            f"model {model.name} takes {takes}; expected images [batch, height, width, "
            "1 or 3]"
        )
    if not isinstance(gives, tuple) or len(gives) != 2:
        raise UserError(
            f"model {model.name} gives {gives}; expected logits [batch, classes]"
        )
