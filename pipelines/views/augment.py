"""How a recipe's augmentation becomes views, and what a manifest says of it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.recipes.base import Augmentation, CropAugmentation, Shifts
from pipelines.views import crops, shifts, urban
from pipelines.views.view import Tensors, View

# Part of every distillation set's identity: raise it when any view changes.
CODE_VERSION = 1

#: What makes the views of each kind of augmentation; its name goes into manifests.
VIEWS: dict[type, View] = {
    Augmentation: View(urban.views),
    CropAugmentation: View(crops.views),
    Shifts: View(shifts.views, seeds=shifts.seeds),
}
_UNNAMED = Augmentation.__name__  # the only kind when the first sets were made


def to_json(augmentation: Any) -> dict[str, Any]:
    """What a manifest keeps: the fields, and the kind if it is not Urban's."""
    kind, fields = type(augmentation).__name__, asdict(augmentation)
    return fields if kind == _UNNAMED else {"kind": kind, **fields}


def from_json(value: Mapping[str, Any]) -> Any:
    """The augmentation that `to_json` wrote; ValueError for anything else."""
    fields = dict(value)
    kind = fields.pop("kind", _UNNAMED)
    try:
        return {kind.__name__: kind for kind in VIEWS}[kind](**fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{kind!r} of {fields} is no augmentation") from error


def mixes(augmentation: Any) -> bool:
    """Whether its views are made of two images each."""
    return VIEWS[type(augmentation)].mixes


def view_seeds(
    sample_ids: np.ndarray, *, augmentation: Any, pass_index: int, seed: int
) -> np.ndarray:
    """int64 [N]: what the views of these samples in a pass are drawn from."""
    return VIEWS[type(augmentation)].seeds(sample_ids, pass_index=pass_index, seed=seed)


def block(images: tf.Tensor, seeds: tf.Tensor, *, augmentation: Any) -> Tensors:
    """The views of a block: uint8 [N, side, side, channels], int64 [N] -> "image" uint8
    of the images' shape; where the kind mixes images also "partner" int64 [N] and
    "share" float32 [N], see `Mixed`."""
    made_by = VIEWS[type(augmentation)]
    made = made_by.make(images, seeds, augmentation=augmentation)
    if not made_by.mixes:
        return {"image": made}
    return {"image": made.pixels, "partner": made.partner, "share": made.share}
