"""Looks at all images of a data set: repeats across its splits or classes, and training
sets from which nothing can be learnt."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from kerasdistill.errors import UserError
from pipelines.sources.examples import Raw
from pipelines.sources.source import Source, blocks

_BLACK = 16  # of 255: the values of 12 bits, read as 16, are no brighter
_REMEDY = "; `drop_duplicates=True` removes them"


def examined(raw: Raw, *, drop: bool) -> tuple[Raw, np.ndarray, tuple[str, ...]]:
    """Looks for images that are in train and in a split beside it, or in two classes.

    Returns:
        `raw`, with `drop` without such training images; the fingerprints of its
        training images, int64 [N]; notes, on repeats only where there are labels.

    Raises:
        UserError: the training images are black, of one colour each or all the same,
            or `drop` leaves a class without any.
    """
    prints = _fingerprints(raw.train)
    _check(raw.train, prints, raw.name)
    beside = [part for part in (raw.validation, raw.test) if part is not None]
    others = [_fingerprints(part) for part in beside]
    several, example = _two_labels([prints, *others], [raw.train, *beside])
    contrary = np.isin(prints, several)
    twice = np.isin(prints, np.concatenate([prints[:0], *others]))
    notes = _said(raw, twice, "also in test or validation", drop=drop)
    if example:
        first, second = (raw.class_names[label] for label in example)
        removed = f"; copies that were removed from train: {contrary.sum():,}"
        notes += (
            f"images in two classes: {len(several):,}, the first in {first} and "
            f"{second}{removed if drop else _REMEDY + ' from train'}",
        )
    if drop and (gone := twice | contrary).any():
        _check_left(raw, ~gone)
        train = raw.train.take(np.flatnonzero(~gone))
        raw, prints = replace(raw, train=train), prints[~gone]
    return raw, prints, notes


def separated(
    raw: Raw, prints: np.ndarray, cut: Mapping[str, np.ndarray], *, drop: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Looks for images that a cut has put both into train and into another split.

    Args:
        prints: the fingerprints of raw.train's images, int64 [N].
        cut: the places in raw.train that come into train and the other splits.

    Returns:
        The places of train, with `drop` without such images, and notes.
    """
    places = cut["train"]
    others = [prints[cut[split]] for split in cut if split != "train"]
    twice = np.isin(prints[places], np.concatenate([prints[:0], *others]))
    notes = _said(raw, twice, "also among those that were cut from train", drop=drop)
    if drop and twice.any():
        places = places[~twice]
        _check_left(raw, places)
    return places, notes


def _said(raw: Raw, found: np.ndarray, where: str, *, drop: bool) -> tuple[str, ...]:
    if not found.any() or not (drop or (raw.train.labels >= 0).all()):
        return ()
    does = ", which were removed" if drop else _REMEDY
    return (f"training images that are {where}: {found.sum():,}{does}",)


def _check_left(raw: Raw, kept: np.ndarray) -> None:
    lost = set(raw.train.labels.tolist()) - set(raw.train.labels[kept].tolist())
    if lost:
        names = [raw.class_names[label] for label in sorted(lost) if label >= 0]
        raise UserError(
            f"{raw.name}: without repeated images no training image is left"
            f"{f' of class {names[0]!r}' if names else ''}; add images or keep the "
            "repeated ones"
        )


def _check(train: Source, prints: np.ndarray, name: str) -> None:
    largest, plain = 0, True
    for block in blocks(train):
        if largest > _BLACK and not plain:
            break  # mostly after the first block
        largest = max(largest, int(block.max()))
        plain = plain and bool((block == block[:, :1, :1]).all())
    if largest <= _BLACK:
        wrong = f"are black (no value is above {largest} of 255)"
    elif len(prints) > 1 and (prints == prints[0]).all():
        wrong = "are one image repeated"
    elif plain:
        wrong = "are of one single colour each"
    else:
        return
    raise UserError(
        f"{name}: all {len(train):,} training images {wrong}, expected pictures that "
        "differ; look at how the files were made"
    )


def _two_labels(
    prints: list[np.ndarray], parts: list[Source]
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The fingerprints that come with more than one label, int64 [n], and two labels
    of the first."""
    every = np.concatenate(prints)
    labels = np.concatenate([part.labels for part in parts])
    order = np.lexsort((labels, every))
    every, labels = every[order], labels[order]
    (places,) = np.nonzero((every[1:] == every[:-1]) & (labels[1:] != labels[:-1]))
    if not len(places):
        return every[:0], None
    first = int(places[0])
    return np.unique(every[places]), (int(labels[first]), int(labels[first + 1]))


def _fingerprints(source: Source) -> np.ndarray:
    """A hash of each image's bytes: int64 [N]."""
    digests = [
        hashlib.blake2b(image, digest_size=8).digest()
        for block in blocks(source)
        for image in block
    ]
    return np.frombuffer(b"".join(digests), np.int64)
