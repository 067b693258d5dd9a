"""Whether a model may label a data set, or learn from it: it is tried on its images."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.exports.cards import own_card
from kerasdistill.models.summary import leaf_layers
from kerasdistill.models.wrapping import AS_GIVEN, INPUTS
from kerasdistill.seeds import permutation
from kerasdistill.terminal import say
from pipelines import judging
from pipelines.datasets import ImageData
from pipelines.judging import Finding
from pipelines.sources.source import Source
from pipelines.stored.manifest import first_difference

CHECKED_IMAGES = 512  # at least
_PER_CLASS, _MOST, _LARGE = 20, 4096, 64 * 64  # images, images, pixels
_AT_ONCE = 128
_TWICE = 32  # images that are asked for twice
_SAME = 1e-2  # of the standard deviation; threads may add in another order
_FORCED = "; `force=True` accepts it"


def check_teacher(
    teacher: keras.Model,
    path: str | os.PathLike[str],
    *,
    data: ImageData,
    force: bool = False,
    tell: bool = False,
) -> None:
    """Refuses a teacher that cannot have been trained for the classes of `data`.

    Args:
        teacher: pixels 0-255 to logits.
        path: its file, whose card lies beside it.
        data: what it is to label.
        force: accept what is only suspicious of a teacher without a card.
        tell: print how often it names the label, and what is accepted.

    Raises:
        UserError: shapes, classes, split or values do not fit.
        StaleArtifactError: the card describes other weights.
    """
    shapes = (tuple(teacher.input_shape[1:]), tuple(teacher.output_shape[1:]))
    expected = (data.image_shape, (data.num_classes,))
    if shapes != expected:
        raise UserError(
            f"teacher {path} maps {shapes[0]} to {shapes[1]}, but {data.name} has "
            f"images of {expected[0]} and {data.num_classes} classes; train one for it"
        )
    card = own_card(path, teacher) or {}
    _check_card(card, path, data)
    # The card of an adapted teacher may know nothing of its classes.
    if "class_names" not in card and not data.labelled and not force:
        raise UserError(
            f"teacher {path} has no card.json that names its classes, and without "
            f"labels their order cannot be checked{_FORCED}"
        )
    how = {"data": data, "facts": card, "force": force, "tell": tell}
    check_values(teacher, f"teacher {path}", **how)


def check_values(
    model: keras.Model,
    what: str,
    *,
    data: ImageData,
    facts: Mapping[str, Any],
    force: bool = False,
    tell: bool = False,
) -> None:
    """Tries a teacher on images of the data and judges it by what it says of them.

    What is impossible is refused: values that are not finite or not of the declared
    kind, other answers to the same images. Of a teacher whose card does not name its
    classes what is suspicious is refused too, unless `force`: logits of an absurd
    size, a scale of pixels or an order of classes that explain its answers better,
    few labels named, or classes that it never says. Of others it is only said.

    Args:
        model: pixels 0-255 to logits [batch, classes of the data].
        what: names it in errors, such as "teacher mine.keras".
        data: what it is to label.
        facts: its card, as far as there is one.
        force, tell: as for `check_teacher`.
    """
    adapted, named = facts.get("adapted") or {}, "class_names" in facts
    images, labels = _sample(data)
    given, logits = _answers(model, images)
    output = judging.of_output(given, adapted.get("output", "logits"))
    _settle(what, [output], force=force)
    _check_twice(model, what, images[:_TWICE], given[:_TWICE])
    findings: list[Finding | None] = []
    if not named:
        scale = adapted.get("input", "0-255")
        by_scale = _by_scale(model, images[:CHECKED_IMAGES], scale)
        some = labels[:CHECKED_IMAGES]
        findings.append(
            judging.of_scale(by_scale, some, scale)
            if data.labelled
            else judging.of_saturation(by_scale, scale)
        )
    if data.labelled:
        if tell:
            said = f"{evaluation.accuracy(logits, labels):.1%} of {len(labels)} images"
            say(f"{what} names the label of {said}")
        findings += _of_labels(logits, labels, data, named=named)
    findings.append(judging.of_size(logits))
    _settle(what, findings, force=force or named, tell=tell)


def accuracy(teachers: Sequence[keras.Model], split: Source) -> float:
    """Fraction of a split's labels that the mean of the teachers' logits names."""
    right = 0
    for start in range(0, len(split), _AT_ONCE):
        places = np.arange(start, min(start + _AT_ONCE, len(split)))
        images = split.read(places)
        logits = sum(_answers(teacher, images)[1] for teacher in teachers)
        right += int((logits.argmax(axis=1) == split.labels[places]).sum())
    return right / len(split)


def kind_of(model: keras.Model, *, data: ImageData) -> str:
    """What the model's values on images of the data are: "logits", "probabilities" or
    "sigmoid"."""
    images, _ = _sample(data)
    found = judging.of_output(_answers(model, images)[0], "logits")
    return (found and found.kind) or "logits"


def check_student(model: keras.Model, path: str, *, data: ImageData) -> None:
    """Refuses a network that cannot learn logits of the data's classes.

    Raises:
        UserError: its outputs are not finite, are probabilities or otherwise cannot
            become every logit.
    """
    images, _ = _sample(data)
    logits = _answers(model, images[:CHECKED_IMAGES])[1]
    _settle(f"student {path}", [judging.of_student(logits)])


def _settle(
    what: str,
    findings: Iterable[Finding | None],
    *,
    force: bool | None = None,
    tell: bool = False,
) -> None:
    """UserError for the first finding that is not accepted (`force` None: none is)."""
    found = [finding for finding in findings if finding is not None]
    for finding in sorted(found, key=lambda each: not each.certain):
        if finding.certain or not force:
            forced = "" if finding.certain or force is None else _FORCED
            raise UserError(f"{what} {finding.text}{forced}")
        if tell:
            say(f"{what} {finding.text}")


def _of_labels(
    logits: np.ndarray, labels: np.ndarray, data: ImageData, *, named: bool
) -> list[Finding]:
    classes, names = data.num_classes, list(data.class_names)
    matrix = evaluation.confusion(logits.argmax(axis=1), labels, classes=classes)
    agreement, chance = evaluation.accuracy(logits, labels), 1.0 / classes
    # Twice chance is out of reach with two classes: there, halfway to perfect.
    least = min(2.0 * chance, (1.0 + chance) / 2.0)
    found = judging.of_classes(matrix, names)
    if agreement < least and not named:
        told = "has no card.json that names its classes; its top-1 agrees with "
        told += f"{agreement:.1%} of the labels, expected at least {least:.1%}: its "
        found.append(Finding(f"{told}classes may be in another order"))
    return found


def _sample(data: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """Images of the transfer set and their labels, the same each time."""
    height, width, _ = data.image_shape
    count = CHECKED_IMAGES
    if height * width <= _LARGE:
        count = min(max(count, _PER_CLASS * data.num_classes), _MOST)
    chosen = permutation(len(data.train), 0, "teacher check")[:count]
    return data.train.read(chosen), data.train.labels[chosen]


def _answers(model: keras.Model, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the model gave before it was made logits, and the logits: float32 [N, K]."""
    tapped = model
    if any(layer.name == AS_GIVEN for layer in model.layers):
        given = model.get_layer(AS_GIVEN).output
        tapped = keras.Model(model.inputs[0], [given, model.outputs[0]])
    parts = []
    for start in range(0, len(pixels), _AT_ONCE):
        batch = tf.constant(pixels[start : start + _AT_ONCE], tf.float32)
        both = tf.nest.flatten(tapped(batch, training=False))
        parts.append([np.asarray(tf.cast(x, tf.float32)) for x in (both[0], both[-1])])
    given, logits = (np.concatenate(each) for each in zip(*parts, strict=True))
    return given, logits


def _by_scale(
    model: keras.Model, images: np.ndarray, declared: str
) -> dict[str, np.ndarray]:
    """Logits of the images at every scale of pixels that there is.

    The model has the declared one inside; it is given what becomes another there.
    """
    factor, offset = INPUTS[declared]
    pixels = images.astype(np.float32)
    return {
        name: _answers(model, (pixels * other + shift - offset) / factor)[1]
        for name, (other, shift) in INPUTS.items()
    }


def _check_twice(
    model: keras.Model, what: str, images: np.ndarray, first: np.ndarray
) -> None:
    """UserError if the same images are answered in another way a second time."""
    if judging.of_answers(first, _answers(model, images)[0]) <= _SAME:
        return
    random = [
        f"{type(layer).__name__} {layer.name!r}"
        for layer in leaf_layers(model)
        if type(layer).__name__.startswith("Random")
        or any(word in type(layer).__name__ for word in ("Dropout", "Noise"))
    ]
    cause = "it was exported in training mode or draws random numbers; export it for "
    cause += "inference (training=False)"
    if random:
        cause = f"{random[0]} acts in inference too; save it without, or call it with "
        cause += "training=False"
    raise UserError(
        f"{what} answers the same images differently a second time: {cause}"
    )


def _check_card(card: Mapping[str, Any], path: Any, data: ImageData) -> None:
    ours = {"class_names": [_composed(name) for name in data.class_names]}
    if data.labelled:  # else the images are not those the teacher was trained on
        ours["dataset"] = data.identity()
    stated = {name: card[name] for name in ours if name in card}
    if isinstance(names := stated.get("class_names"), list):
        stated["class_names"] = [_composed(str(name)) for name in names]
    if isinstance(identity := stated.get("dataset"), dict):
        both = identity.keys() & ours["dataset"].keys()
        ours["dataset"] = {name: ours["dataset"][name] for name in both}
    difference = first_difference({name: ours[name] for name in stated}, stated)
    if difference:
        field, expected, value = difference
        raise UserError(
            f"teacher {path}: its card's {field} is {value!r}, the data's is "
            f"{expected!r}; use a teacher of this data set and split"
        )


def same_names(stated: Sequence[str] | None, names: Sequence[str]) -> bool:
    """Whether class names that a card states, if it does, are these in this order."""
    return stated is None or list(map(_composed, stated)) == list(map(_composed, names))


def _composed(name: str) -> str:
    """A name may be written in several Unicode forms, and is the same name."""
    return unicodedata.normalize("NFC", name)
