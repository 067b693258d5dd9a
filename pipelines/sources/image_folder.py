"""Reads a folder of images, one folder per class."""

import errno
import os
import warnings
from collections.abc import Sequence

import numpy as np

from kerasdistill import packages
from kerasdistill.errors import UserError, reason
from pipelines.sources import folder_listing
from pipelines.sources.examples import Examples, Raw, Request
from pipelines.sources.folder_listing import LeftOut, Listing
from pipelines.sources.shapes import Shape

_NO_LABELS = (
    "no labels: validation is by agreement with the teacher, and there is no test split"
)
# What the disk or the system reports says nothing about the file.
_NOT_THE_FILES = (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def read(request: Request) -> Raw:
    """Reads train/<class>/<image> and, where there are such, test/ and validation/
    (or val/, valid/, dev/), in any case.

    Classes and files come in the order of their names; images in deeper folders of a
    class belong to it, and links are followed. Names that begin with a dot are left
    out. What else is not read, such as damaged images, is counted in a note.

    UserError for no classes or images, two folders for one split, a class without a
    readable image or that train/ lacks, and, where `request.strict`, any file that is
    not read.
    """
    root, shape = _root(request), request.image_shape
    left_out = LeftOut(root)
    listing = folder_listing.labelled(root, left_out)
    pixels, kept, notes = _read(listing.paths, shape, left_out)
    notes = (_resized(shape), *listing.notes, *notes, *_said(left_out, request))
    splits, labels = np.asarray(listing.splits)[kept], np.asarray(listing.labels)[kept]
    found: dict[str, Examples] = {}
    for split, place in listing.roots.items():
        (members,) = np.nonzero(splits == split)
        if not len(members):
            skipped = left_out.inside([place])
            raise UserError(
                f"{place} holds no images; expected <class>/<image> files"
                f"{skipped.in_brackets()}"
            )
        part = slice(members[0], members[-1] + 1)  # without a copy
        found[split] = Examples.numbered(pixels[part], labels[part])
    _check_classes(listing, found["train"], left_out)
    if validation := found.get("validation"):
        # Ids as if they had been cut from train.
        ids = validation.sample_ids + len(found["train"])
        validation = Examples(validation.images, validation.labels, ids)
    return Raw(
        name=f"folder:{root}",
        version="folder",
        class_names=listing.class_names,
        train=found["train"],
        validation=validation,
        test=found.get("test"),
        notes=notes,
    )


def read_unlabelled(request: Request) -> Raw:
    """Reads every image in a folder, at any depth, with label -1.

    Files come in the order of their paths; links are followed, names that begin with a
    dot are left out, and what else is not read is counted in a note. UserError for
    fewer than two images and, where `request.strict`, any file that is not read.
    """
    root, shape = _root(request), request.image_shape
    left_out = LeftOut(root)
    if not os.path.isdir(root):
        raise UserError(f"{root} is no folder; expected one that holds images")
    paths = list(folder_listing.walk(root, left_out))
    pixels, _, notes = _read(paths, shape, left_out)
    notes = (_resized(shape), _NO_LABELS, *notes, *_said(left_out, request))
    if len(pixels) < 2:
        raise UserError(
            f"folder {root} holds {len(pixels)} readable images, expected at least two "
            f"images: one to learn from and one for validation{left_out.in_brackets()}"
        )
    examples = Examples.numbered(pixels, np.full(len(pixels), -1))
    return Raw(
        name=f"unlabelled:{root}",
        version="folder",
        class_names=request.class_names,
        train=examples,
        test=examples.take(np.arange(0)),
        notes=notes,
    )


def _root(request: Request) -> str:
    # Absolute: the same folder is the same data set, from wherever it is named.
    return os.path.abspath(os.path.expanduser(request.name))


def _resized(shape: Shape) -> str:
    height, width, channels = shape
    return (
        f"images were brought to {height}x{width}{' grey' * (channels == 1)} by their "
        "short side, antialiased, and cropped at the centre"
    )


def _said(left_out: LeftOut, request: Request) -> tuple[str, ...]:
    """The note about files that were not read; UserError where there may be none."""
    if not left_out.entries:
        return ()
    if request.strict:
        raise UserError(
            f"{left_out.root} was to be read strictly, but {left_out.text()}; repair "
            "or remove them"
        )
    return (left_out.text(),)


def _check_classes(listing: Listing, train: Examples, left_out: LeftOut) -> None:
    """UserError for a class all of whose files are left out."""
    for label in set(range(len(listing.class_names))) - set(train.labels.tolist()):
        name = listing.class_names[label]
        skipped = left_out.inside(listing.folders[name])
        if skipped.entries:
            raise UserError(
                f"{listing.roots['train']} has no readable image in class {name!r}"
                f"{skipped.in_brackets()}; repair them or remove the class"
            )


def _read(
    paths: Sequence[str], shape: Shape, left_out: LeftOut
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 [n, H, W, C] of the n readable files, which files those are
    (bool [N]), and notes."""
    packages.require("PIL", by="a folder of images")
    from pipelines.sources import images

    pixels, kept = np.empty((len(paths), *shape), np.uint8), np.ones(len(paths), bool)
    deep: dict[int, int] = {}  # place -> largest value, of more than 8 bits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about what it repairs
        for place, path in enumerate(paths):
            try:
                image = images.load(path)
                if images.is_deep(image):
                    deep[place] = images.largest_value(image)
                else:
                    pixels[place] = images.square(images.to_rgb(image), shape)
            except Exception as error:  # Pillow raises what its many decoders raise
                if getattr(error, "errno", None) in _NOT_THE_FILES:
                    raise
                kept[place] = False
                why = getattr(error, "strerror", None) or reason(error)
                left_out.add(path, folder_listing.UNREADABLE, why)
        # One scale for all of them: a dark picture is not one of fewer bits.
        largest = max(deep.values(), default=0)
        white = images.white_of(largest)
        for place in deep:
            pixels[place] = images.read_square(paths[place], shape, white=white)
    notes: tuple[str, ...] = ()
    if deep and white != images.WHITE:
        notes = (
            f"the largest value of {len(deep):,} images with more than 8 bits is "
            f"{largest:,}: {white:,} was taken as white",
        )
    return (pixels if kept.all() else pixels[kept]), kept, notes
