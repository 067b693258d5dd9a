"""Data sets as splits of uint8 images: the one place for class counts and shapes."""

import hashlib
import sys
from collections.abc import Callable, Mapping

import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.seeds import permutation
from pipelines.sources import digits, image_folder, tfds
from pipelines.sources.examples import Examples, ImageData, Raw, Request
from pipelines.sources.images import IMAGE_SHAPE, Shape, check_shape
from pipelines.sources.source import Source

__all__ = ["SOURCES", "Examples", "ImageData", "Raw", "Request", "load"]

UNLABELLED = "unlabelled:"
HELD_OUT_FRACTION = 0.2  # 10,000 of CIFAR's 50,000 (Urban, section 2.1)
QUICK_EXAMPLES = {"train": 4_000, "validation": 1_000, "test": 2_000}
_DIGESTED_AT_ONCE = 10_000  # images

#: Readers by the data set's whole name, or by its beginning up to a colon.
SOURCES: dict[str, Callable[[Request], Raw]] = {
    "digits": digits.read,
    "folder:": image_folder.read,
    UNLABELLED: image_folder.read_unlabelled,
}


def load(
    name: str,
    *,
    data_dir: str | None = None,
    split_seed: int = 0,
    quick: bool = False,
    class_names: tuple[str, ...] = (),
    image_shape: Shape = IMAGE_SHAPE,
) -> ImageData:
    """Loads a data set by name and cuts off the validation split.

    A fifth of every class is held out for validation, chosen by `split_seed` alone;
    where there is no test split, a fifth is cut off for it first. Prints on stderr what
    was done to the images and the splits.

    Args:
        name: "digits" (scikit-learn's, embedded), "folder:PATH" (train/<class>/*,
            optional test/<class>/*), "unlabelled:PATH" (images in it, at any depth)
            or the name of a TFDS image classification set.
        data_dir: where TFDS keeps its data (None: its own default).
        quick: keep at most 4,000 / 1,000 / 2,000 examples.
        class_names: of unlabelled images' teacher; other sets have their own.
        image_shape: what all images are brought to: height, width (the same) and 3
            channels, or 1 for grey.

    Raises:
        UserError: unknown name, unreadable image, a split too small.
    """
    check_shape(image_shape)
    prefix, colon, rest = name.partition(":")
    reader = SOURCES.get(prefix + colon, tfds.read)
    rest = rest if prefix + colon in SOURCES else name
    raw = reader(Request(rest, data_dir, class_names, image_shape))
    if (raw.train.labels >= 0).all():
        _check_counts(raw)
    notes, train, test = raw.notes, raw.train, raw.test
    if test is None:
        train, test = _hold_out(train, split_seed, "test")
        notes += (f"no test split: {len(test):,} images were cut from train for it",)
    train, validation = _hold_out(train, split_seed, "validation")
    splits = {"train": train, "validation": validation, "test": test}
    if quick:
        for key, most in QUICK_EXAMPLES.items():
            order = permutation(len(splits[key]), split_seed, "quick", key)
            splits[key] = splits[key].take(np.sort(order[:most]))
    for note in notes:
        print(f"{name}: {note}", file=sys.stderr)
    return ImageData(
        name=raw.name,
        version=raw.version,
        class_names=raw.class_names,
        split_seed=split_seed,
        digest=_digest(splits, raw.class_names),
        notes=notes,
        **splits,
    )


def _check_counts(raw: Raw) -> None:
    """Every class must reach every split that is cut from train."""
    splits = ("train", "validation") + (("test",) if raw.test is None else ())
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    for class_name, count in zip(raw.class_names, counts, strict=True):
        if count < len(splits):
            raise UserError(
                f"{raw.name}: class {class_name!r} has {count} training "
                f"image{'' if count == 1 else 's'}, expected at least {len(splits)} "
                f"(one each for {', '.join(splits)}); add images or remove the class"
            )


def _hold_out(examples: Source, seed: int, purpose: str) -> tuple[Source, Source]:
    """Cuts a fifth of every class off, at least one image."""
    held = np.zeros(len(examples), bool)
    for label in map(int, np.unique(examples.labels)):
        members = np.flatnonzero(examples.labels == label)
        count = max(1, round(HELD_OUT_FRACTION * len(members)))
        chosen = permutation(len(members), seed, purpose, label)[:count]
        held[members[chosen]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))


def _digest(splits: Mapping[str, Source], class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in splits.values():
        for first in range(0, len(split), _DIGESTED_AT_ONCE):
            last = min(first + _DIGESTED_AT_ONCE, len(split))
            digest.update(np.ascontiguousarray(split.read(np.arange(first, last))).data)
        for array in (split.labels, split.sample_ids):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
