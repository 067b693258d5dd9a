"""Data sets as splits of uint8 images: the one place for class counts and shapes."""

import difflib
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kerasdistill.errors import UserError
from kerasdistill.seeds import permutation

IMAGE_SIDE = 32
HELD_OUT_FRACTION = 0.2  # 10,000 of CIFAR's 50,000 (Urban, section 2.1)
QUICK_EXAMPLES = {"train": 4_000, "validation": 1_000, "test": 2_000}


@dataclass(frozen=True)
class Examples:
    """images uint8 [N, H, W, 3], labels int64 [N], sample_ids int64 [N]."""

    images: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at `indices`, in that order, with their sample ids."""
        return Examples(
            self.images[indices], self.labels[indices], self.sample_ids[indices]
        )


@dataclass(frozen=True)
class ImageData:
    """A data set cut into train (the transfer set), validation and test.

    `digest` covers the train split's pixels, labels and ids and the class names.
    `notes` says in words what was done to the images or the splits.
    """

    name: str
    version: str
    class_names: tuple[str, ...]
    split_seed: int
    train: Examples
    validation: Examples
    test: Examples
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def split(self, name: str) -> Examples:
        """The split called train, validation or test."""
        if name not in ("train", "validation", "test"):
            raise UserError(
                f"split {name!r} is not known; use train, validation or test"
            )
        return getattr(self, name)

    def identity(self) -> dict:
        """What a teacher, a distillation set and a student must agree on."""
        return {
            "name": self.name,
            "version": self.version,
            "split_seed": self.split_seed,
            "digest": self.digest,
            "num_samples": len(self.train),
        }


@dataclass(frozen=True)
class _Raw:
    version: str
    class_names: tuple[str, ...]
    train: Examples
    test: Examples | None
    notes: tuple[str, ...] = ()


def load(
    name: str,
    *,
    data_dir: str | None = None,
    split_seed: int = 0,
    quick: bool = False,
) -> ImageData:
    """Loads a data set by name and cuts off the validation split.

    A fifth of every class is held out for validation, chosen by `split_seed`
    alone; where there is no test split, a fifth is cut off for it first.

    Args:
        name: "digits" (scikit-learn's, embedded), "folder:PATH" (train/<class>/*,
            optional test/<class>/*) or the name of a TFDS image classification set.
        data_dir: where TFDS keeps its data (None: its own default).
        split_seed: chooses the held-out examples.
        quick: keep at most 4,000 / 1,000 / 2,000 examples.

    Raises:
        UserError: unknown name, unreadable image, a split too small.
    """
    if name == "digits":
        raw = _digits()
    elif name.startswith("folder:"):
        raw = _folder(Path(name.removeprefix("folder:")))
    else:
        raw = _tfds(name, data_dir)
    notes, train, test = raw.notes, raw.train, raw.test
    if test is None:
        train, test = _hold_out(train, raw.class_names, split_seed, "test")
        notes += (f"no test split: {len(test):,} images were cut from train for it",)
    train, validation = _hold_out(train, raw.class_names, split_seed, "validation")
    splits = {"train": train, "validation": validation, "test": test}
    if quick:
        for key, most in QUICK_EXAMPLES.items():
            order = permutation(len(splits[key]), split_seed, "quick", key)
            splits[key] = splits[key].take(np.sort(order[:most]))
    for note in notes:
        print(f"{name}: {note}", file=sys.stderr)
    return ImageData(
        name=name,
        version=raw.version,
        class_names=raw.class_names,
        split_seed=split_seed,
        digest=_digest(splits["train"], raw.class_names),
        notes=notes,
        **splits,
    )


def _hold_out(
    examples: Examples, class_names: tuple[str, ...], seed: int, purpose: str
) -> tuple[Examples, Examples]:
    """Cuts a fifth of every class off, at least one image."""
    held = np.zeros(len(examples), bool)
    for label, class_name in enumerate(class_names):
        members = np.flatnonzero(examples.labels == label)
        if len(members) < 2:
            raise UserError(
                f"class {class_name!r} has {len(members)} training images; the "
                f"{purpose} split needs at least one beside one to train on: add images"
            )
        count = max(1, round(HELD_OUT_FRACTION * len(members)))
        chosen = permutation(len(members), seed, purpose, label)[:count]
        held[members[chosen]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))


def _digest(train: Examples, class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(class_names).encode())
    for array in (train.images, train.labels, train.sample_ids):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _examples(images: np.ndarray, labels: np.ndarray) -> Examples:
    labels = np.asarray(labels, np.int64)
    return Examples(images, labels, np.arange(len(labels), dtype=np.int64))


def _square(image: Image.Image) -> np.ndarray:
    """Short side to 32 with antialiasing, centre crop, RGB: uint8 [32, 32, 3]."""
    size = (IMAGE_SIDE, IMAGE_SIDE)
    return np.asarray(ImageOps.fit(image, size, Image.Resampling.BICUBIC))


def _digits() -> _Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.stack([_square(Image.fromarray(p).convert("RGB")) for p in pixels])
    return _Raw(
        version="scikit-learn",
        class_names=tuple(str(name) for name in bunch.target_names),
        train=_examples(images, bunch.target),
        test=None,
        notes=("8x8 grey images were brought to 32x32x3",),
    )


def _folder(root: Path) -> _Raw:
    train_root = root / "train"
    if not train_root.is_dir():
        raise UserError(
            f"folder {root} has no train/ inside; expected train/<class>/<image>"
        )
    names = tuple(sorted(p.name for p in train_root.iterdir() if p.is_dir()))
    if len(names) < 2:
        raise UserError(
            f"{train_root} has {len(names)} class folders, expected at least two: "
            "put each class's images into a folder of its own"
        )
    test = None
    if (root / "test").is_dir():
        test = _read_folder(root / "test", names)
    return _Raw(
        version="folder",
        class_names=names,
        train=_read_folder(train_root, names),
        test=test,
        notes=(
            "images were brought to 32x32 by their short side, antialiased, and "
            "cropped at the centre",
        ),
    )


def _read_folder(root: Path, class_names: tuple[str, ...]) -> Examples:
    strangers = {p.name for p in root.iterdir() if p.is_dir()} - set(class_names)
    if strangers:
        raise UserError(
            f"{root} has a class that train/ lacks: {sorted(strangers)[0]}; remove it"
        )
    images, labels = [], []
    for label, name in enumerate(class_names):
        directory = root / name
        files = sorted(directory.iterdir()) if directory.is_dir() else []
        for path in files:
            if path.is_file() and not path.name.startswith("."):
                images.append(_read_image(path))
                labels.append(label)
    if not images:
        raise UserError(f"{root} holds no images; expected <class>/<image> files")
    return _examples(np.stack(images), np.asarray(labels))


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return _square(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UserError(
            f"{path} cannot be read as an image ({error}); repair or remove it"
        ) from error


def _tfds(name: str, data_dir: str | None) -> _Raw:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        near = difflib.get_close_matches(name, ["digits", *tfds.list_builders()], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"data set {name!r} is not known{hint} Use a TFDS name, digits or "
            "folder:PATH"
        ) from error
    _prepare(builder)
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise UserError(
            f"data set {name!r} has no 'image' and 'label' ({', '.join(features)}); "
            "choose an image classification set"
        )
    splits = builder.info.splits
    if "train" not in splits:
        raise UserError(f"data set {name!r} has no train split ({', '.join(splits)})")
    notes = ()
    if features["image"].shape != (IMAGE_SIDE, IMAGE_SIDE, 3):
        notes = ("images were brought to 32x32x3 by short side and centre crop",)
    return _Raw(
        version=str(builder.version),
        class_names=tuple(features["label"].names),
        train=_read_tfds(builder, "train"),
        test=_read_tfds(builder, "test") if "test" in splits else None,
        notes=notes,
    )


def _prepare(builder) -> None:
    if builder.info.splits:
        return
    size = builder.info.download_size
    print(
        f"downloading {builder.name} ({size or 'size unknown'}) to {builder.data_dir}",
        file=sys.stderr,
    )
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises what its many downloaders raise
        reason = str(error).strip().splitlines()
        raise UserError(
            f"data set {builder.name!r} is neither under {builder.data_dir} nor "
            f"downloadable ({reason[0] if reason else type(error).__name__}); "
            "pass --data-dir or prepare it with tfds build"
        ) from error


def _read_tfds(builder, split: str) -> Examples:
    import tensorflow_datasets as tfds

    same_size = builder.info.features["image"].shape == (IMAGE_SIDE, IMAGE_SIDE, 3)
    dataset = builder.as_dataset(
        split=split,
        # One file at a time: the order, and so the sample ids, never change.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    pairs = dataset.map(lambda example: (example["image"], example["label"]))
    if same_size:
        images, labels = zip(*pairs.batch(1_000).as_numpy_iterator(), strict=True)
        return _examples(np.concatenate(images), np.concatenate(labels))
    images, labels = [], []
    for image, label in pairs.as_numpy_iterator():
        image = image[..., 0] if image.shape[-1] == 1 else image
        images.append(_square(Image.fromarray(image).convert("RGB")))
        labels.append(label)
    return _examples(np.stack(images), np.asarray(labels))
