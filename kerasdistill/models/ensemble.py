"""The super teacher: its members' mean, of logits or of probabilities."""

import math
from collections.abc import Callable, Sequence

import keras
from keras import ops

from kerasdistill.errors import UserError


def build(
    members: Sequence[keras.Model],
    *,
    averaging: str = "mean-logits",
    name: str = "super_teacher",
) -> keras.Model:
    """One model that averages the members, class by class, in float32.

    Members are copied with their weights, under names of their own (member_1, ...),
    so the callers' models stay as they are.

    Args:
        members: one or more models, images [batch, *image_shape] -> logits
            [batch, num_classes], all with the same shapes.
        averaging: a name in `AVERAGINGS`: "mean-logits" (Urban's super teacher), or
            "mean-probabilities" (the Born-Again ensembles): the logarithm of the mean
            of the members' softmax, so that what comes out are logits again.
        name: the new model's.

    Returns:
        A model of stock layers, images -> float32 logits [batch, num_classes].

    Raises:
        UserError: no members, or members that disagree on image shape or classes.
    """
    if not members:
        raise UserError("an ensemble has no members; give at least one teacher")
    first = members[0]
    shapes = first.input_shape, first.output_shape
    for position, member in enumerate(members[1:], start=2):
        if (member.input_shape, member.output_shape) != shapes:
            raise UserError(
                f"member {position} maps {_shapes(member)} but member 1 maps "
                f"{_shapes(first)}; an ensemble needs teachers of one data set"
            )
    image = keras.Input(first.input_shape[1:], name="image")
    logits = [
        _copy(member, name=f"member_{position}")(image)
        for position, member in enumerate(members, start=1)
    ]
    return keras.Model(image, AVERAGINGS[averaging](logits), name=name)


def _mean_logits(logits: list):
    return keras.layers.Average(dtype="float32", name="mean_logits")(logits)


def _mean_probabilities(logits: list):
    # By logarithms: a probability that is 0 in float32 would have none.
    name = "log_probabilities"
    as_log = keras.layers.Activation("log_softmax", dtype="float32", name=name)
    stacked = ops.stack([as_log(each) for each in logits], axis=1)
    return ops.logsumexp(stacked, axis=1) - math.log(len(logits))


AVERAGINGS: dict[str, Callable[[list], object]] = {
    "mean-logits": _mean_logits,
    "mean-probabilities": _mean_probabilities,
}


def _copy(member: keras.Model, *, name: str) -> keras.Model:
    copy = type(member).from_config({**member.get_config(), "name": name})
    copy.set_weights(member.get_weights())
    return copy


def _shapes(model: keras.Model) -> str:
    return f"{model.input_shape[1:]} to {model.output_shape[-1]} classes"
