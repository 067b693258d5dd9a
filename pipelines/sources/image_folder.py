"""Reads a folder of images, one folder per class."""

import os
from pathlib import Path

import numpy as np

from kerasdistill.errors import UserError
from pipelines.sources.examples import Examples, Raw, Request
from pipelines.sources.images import Shape, read_square

_NO_LABELS = (
    "no labels: validation is by agreement with the teacher, and there is no test split"
)


def read(request: Request) -> Raw:
    """Reads train/<class>/<image> and, where there is one, test/<class>/<image>.

    Classes and files come in the order of their names; names that begin with a dot
    are left out. UserError for no classes or images, an unreadable image, or a class in
    test alone.
    """
    root, shape = _root(request), request.image_shape
    train_root = root / "train"
    if not train_root.is_dir():
        raise UserError(f"{root} has no train/ inside; expected train/<class>/<image>")
    names = tuple(_class_folders(train_root))
    if len(names) < 2:
        raise UserError(
            f"{train_root} has {len(names)} class folders, expected at least two: "
            "put each class's images into a folder of its own"
        )
    test = root / "test"
    return Raw(
        name=f"folder:{root}",
        version="folder",
        class_names=names,
        train=_read_folder(train_root, names, shape),
        test=_read_folder(test, names, shape) if test.is_dir() else None,
        notes=(_resized(shape),),
    )


def read_unlabelled(request: Request) -> Raw:
    """Reads every image in a folder, at any depth, with label -1.

    Files come in the order of their paths; names that begin with a dot are left out.
    UserError for no folder, fewer than two images or an unreadable image.
    """
    root, shape = _root(request), request.image_shape
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if len(files) < 2:
        raise UserError(
            f"folder {root} holds {len(files)} files, expected at least two images: "
            "one to learn from and one for validation"
        )
    images = np.stack([read_square(path, shape) for path in files])
    examples = Examples.numbered(images, np.full(len(images), -1))
    return Raw(
        name=f"unlabelled:{root}",
        version="folder",
        class_names=request.class_names,
        train=examples,
        test=examples.take(np.arange(0)),
        notes=(_resized(shape), _NO_LABELS),
    )


def _root(request: Request) -> Path:
    # Absolute: the same folder is the same data set, from wherever it is named.
    return Path(os.path.abspath(Path(request.name).expanduser()))


def _class_folders(root: Path) -> list[str]:
    names = sorted(
        path.name
        for path in root.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    for name in names:
        if not name.isprintable():  # nor what bytes that are no text were read as
            raise UserError(
                f"{root} has a class folder {name!r}, which is no plain text; rename it"
            )
    return names


def _resized(shape: Shape) -> str:
    height, width, channels = shape
    return (
        f"images were brought to {height}x{width}{' grey' * (channels == 1)} by their "
        "short side, antialiased, and cropped at the centre"
    )


def _read_folder(root: Path, class_names: tuple[str, ...], shape: Shape) -> Examples:
    for name in _class_folders(root):
        if name not in class_names:
            raise UserError(f"{root} has a class that train/ lacks: {name}; remove it")
    images, labels = [], []
    for label, name in enumerate(class_names):
        directory = root / name
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                images.append(read_square(path, shape))
                labels.append(label)
    if not images:
        raise UserError(f"{root} holds no images; expected <class>/<image> files")
    return Examples.numbered(np.stack(images), np.asarray(labels))
