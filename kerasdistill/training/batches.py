"""What Keras' `fit` is given, in the one form of shells: batches that are dicts."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasdistill.errors import UserError


def is_dataset(data: Any) -> bool:
    """Whether it is a `tf.data.Dataset`, on whichever backend."""
    tf = sys.modules.get("tensorflow")  # whoever has such a thing has imported it
    return tf is not None and isinstance(data, tf.data.Dataset)


def checked(
    data: Any, batch_of: Callable[[Any], dict], key: str, *, classes: int | None
) -> Any:
    """The data; UserError if it can be seen to bring no dicts or impossible labels.

    What only shows in the batches themselves, as with generators, is left to the step.

    Args:
        data: what `fit` takes as x or as validation_data.
        batch_of: the dict in a batch, or UserError.
        key: what no batch can do without.
        classes: the student's outputs (None: unknown).
    """
    if is_dataset(data):
        keys = batch_of(data.element_spec)
    elif isinstance(data, dict | tuple | list) or hasattr(data, "shape"):
        keys = data = batch_of(data)
        if "label" in data and classes is not None:
            labels = np.asarray(data["label"])
            if labels.size and not 0 <= labels.min() <= labels.max() < classes:
                raise out_of_range(f"{labels.min()} to {labels.max()}", classes)
    else:
        return data
    if key not in keys:
        raise UserError(
            f"batches of {sorted(keys)} were given; expected {key!r} among their keys"
        )
    return data


def out_of_range(came: str, classes: int) -> UserError:
    """The error about labels that are no class of the student's."""
    return UserError(
        f"labels ({came}) were given; expected whole numbers from 0 to {classes - 1}, "
        f"because the student has {classes} outputs"
    )


def weighed(
    data: Any, class_weight: Mapping[int, float] | None, sample_weight: Any
) -> Any:
    """The data with `fit`'s weights multiplied into the batches' own "weight".

    Raises:
        UserError: the data brings no labels, or is no Dataset or dict of arrays; or
            `sample_weight` comes beside a Dataset.
    """
    class_weight = class_weight or None
    given = {"class_weight": class_weight, "sample_weight": sample_weight}
    names = " and ".join(name for name, value in given.items() if value is not None)
    if not names:
        return data
    keys = data.element_spec if is_dataset(data) else data
    fitting = isinstance(data, dict) or (is_dataset(data) and sample_weight is None)
    if not fitting or (class_weight is not None and "label" not in keys):
        raise UserError(
            f"{names} came with a {type(data).__name__}; class_weight needs a "
            'tf.data.Dataset or a dict of arrays, with "label"; sample_weight needs a '
            'dict of arrays: give each example\'s weight in the batches, as "weight"'
        )
    if isinstance(data, dict):
        weight = np.asarray(data.get("weight", 1.0), np.float32)
        if sample_weight is not None:
            weight = weight * np.asarray(sample_weight, np.float32)
        if class_weight is not None:
            weight = weight * _table(class_weight)(np, np.asarray(data["label"]))
        return {**data, "weight": weight}
    tf, of_labels = sys.modules["tensorflow"], _table(class_weight)

    def weigh(batch: dict) -> dict:
        weight = of_labels(tf, batch["label"])
        if "weight" in batch:
            weight *= tf.cast(batch["weight"], "float32")
        return {**batch, "weight": weight}

    return data.map(weigh)


def num_classes(student: Any) -> int | None:
    """How many outputs it has (None: its layers are not known to Keras)."""
    if not hasattr(student, "output_shape"):
        return None
    shape = student.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise UserError(
            f"student {student.name} gives {shape}; expected one output of logits "
            "[batch, classes]: end it with Flatten or pooling and Dense(classes)"
        )
    return shape[1]


def require_as_many(taught: Sequence[int | None], classes: int | None) -> None:
    """UserError unless the teacher's logits [batch, classes] are as the student's."""
    if not _fits(taught, (None, classes)):
        raise UserError(
            f"the student gives {(None, classes)} and the teacher's logits are "
            f"{tuple(taught)}; expected [batch, classes] of both: give the student's "
            "last layer as many units as the teacher has classes"
        )


def require_shapes(batch: dict, logits: Any) -> None:
    """UserError if what is not of one length would be broadcast."""
    shape = getattr(logits, "shape", None)
    if shape is None or len(shape) != 2:
        raise UserError(
            f"the student gives {shape or type(logits).__name__}; expected one output "
            "of logits [batch, classes]"
        )
    if "teacher_logits" in batch:
        require_as_many(batch["teacher_logits"].shape, shape[1])
    for key in ("label", "weight"):
        if key in batch and not _fits(batch[key].shape, (None,)):
            raise UserError(
                f"{key!r} has the shape {tuple(batch[key].shape)}; expected one number "
                "for each example, [batch]"
            )


def _fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether static shapes agree as far as they are known."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(
        one is None or other is None or one == other for one, other in pairs
    )


def _table(class_weight: Mapping[int, float]) -> Callable[[Any, Any], Any]:
    """(numpy or tensorflow, labels) -> float32 weights; 1 for classes not named."""
    count = max(map(int, class_weight)) + 2  # the last entry is all others'
    table = np.ones(count, np.float32)
    for label, weight in class_weight.items():
        table[int(label)] = weight

    def look_up(library: Any, labels: Any) -> Any:
        places = library.minimum(labels, count - 1)
        return library.gather(table, places) if library is not np else table[places]

    return look_up
