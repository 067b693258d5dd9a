"""Data sets as splits of uint8 images: the one place for class counts and shapes."""

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from kerasdistill.errors import UserError, one_line
from kerasdistill.seeds import permutation
from kerasdistill.terminal import say
from pipelines.sources import digits, image_folder, repeats, tfds
from pipelines.sources.examples import Examples, ImageData, Raw, Request
from pipelines.sources.shapes import IMAGE_SHAPE, Shape, check_shape
from pipelines.sources.source import Source, blocks

__all__ = ["SOURCES", "Examples", "ImageData", "Raw", "Request", "load"]

UNLABELLED = "unlabelled:"
HELD_OUT_FRACTION = 0.2  # 10,000 of CIFAR's 50,000 (Urban, section 2.1)
QUICK_EXAMPLES = {"train": 4_000, "validation": 1_000, "test": 2_000}

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
    strict: bool = False,
    drop_duplicates: bool = False,
) -> ImageData:
    """Loads a data set by name and cuts off the validation split.

    A fifth of every class is held out for validation, chosen by `split_seed` alone,
    unless a folder has a validation split; where there is no test split, a fifth is cut
    off for it first. Prints on stderr what was done to the images and the splits, which
    files were skipped, and how many images are in two splits or two classes.

    Args:
        name: "digits" (scikit-learn's, embedded), "folder:PATH" (`train/CLASS/*`,
            optional validation/ and test/), "unlabelled:PATH" (images in it, at any
            depth) or the name of a TFDS image classification set.
        data_dir: where TFDS keeps its data (None: its own default).
        quick: keep at most 4,000 / 1,000 / 2,000 examples.
        class_names: of unlabelled images' teacher; other sets have their own.
        image_shape: what all images are brought to: height, width (the same) and 3
            channels, or 1 for grey.
        strict: refuse a folder with files that cannot be read, rather than skip them.
        drop_duplicates: remove training images that have two labels or are also, at
            `image_shape`, in test or validation.

    Raises:
        UserError: unknown name, a split too small, a class without a readable image,
            training images that are black, of one colour each or all the same.
    """
    check_shape(image_shape)
    prefix, colon, rest = name.partition(":")
    reader = SOURCES.get(prefix + colon, tfds.read)
    rest = rest if prefix + colon in SOURCES else name
    raw = reader(Request(rest, data_dir, class_names, image_shape, strict))
    raw, prints, repeated = repeats.examined(raw, drop=drop_duplicates)
    if (raw.train.labels >= 0).all():
        _check_counts(raw)
    cut = _cut(raw, split_seed)
    cut["train"], separated = repeats.separated(raw, prints, cut, drop=drop_duplicates)
    splits = {
        split: raw.train.take(cut[split]) if split in cut else getattr(raw, split)
        for split in ("train", "validation", "test")
    }
    notes = (*raw.notes, *_said(raw, splits), *repeated, *separated)
    notes = tuple(map(one_line, notes))
    if quick:
        for key, most in QUICK_EXAMPLES.items():
            order = permutation(len(splits[key]), split_seed, "quick", key)
            splits[key] = splits[key].take(np.sort(order[:most]))
    for note in notes:
        say(f"{one_line(name)}: {note}")
    return ImageData(
        name=raw.name,
        version=raw.version,
        class_names=raw.class_names,
        split_seed=split_seed,
        digest=_digest(splits, raw.class_names),
        notes=notes,
        drop_duplicates=drop_duplicates,
        **splits,
    )


def _cut(raw: Raw, seed: int) -> dict[str, np.ndarray]:
    """The places in raw.train of train, and of each split that has to be cut from it:
    a fifth of every class, at least one image."""
    rest, labels, cut = np.arange(len(raw.train)), raw.train.labels, {}
    for split in ("test", "validation"):
        if getattr(raw, split) is not None:
            continue
        held = np.zeros(len(rest), bool)
        for label in map(int, np.unique(labels[rest])):
            members = np.flatnonzero(labels[rest] == label)
            count = max(1, round(HELD_OUT_FRACTION * len(members)))
            held[members[permutation(len(members), seed, split, label)[:count]]] = True
        rest, cut[split] = rest[~held], rest[held]
    return {"train": rest, **cut}


def _said(raw: Raw, splits: Mapping[str, Source]) -> Iterator[str]:
    """Where the splits are not the usual ones."""
    if raw.test is None:
        count = len(splits["test"])
        yield f"no test split: {count:,} images were cut from train for it"
    if raw.validation is not None:
        yield "it has a validation split: none was cut from train"


def _check_counts(raw: Raw) -> None:
    """Every class must reach every split that is cut from train."""
    held_out = {"validation": raw.validation, "test": raw.test}
    splits = ("train", *(name for name, part in held_out.items() if part is None))
    counts = np.bincount(raw.train.labels, minlength=len(raw.class_names))
    for class_name, count in zip(raw.class_names, counts, strict=True):
        if count < len(splits):
            raise UserError(
                f"{raw.name}: class {class_name!r} has {count} training "
                f"image{'' if count == 1 else 's'}, expected at least {len(splits)} "
                f"(one each for {', '.join(splits)}); add images or remove the class"
            )


def _digest(splits: Mapping[str, Source], class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in splits.values():
        for block in blocks(split):
            digest.update(block.data)
        for array in (split.labels, split.sample_ids):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
