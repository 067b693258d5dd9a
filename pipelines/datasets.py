"""Data sets as splits of uint8 images: the one place for class counts and shapes."""

import contextlib
import difflib
import hashlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from kerasdistill.errors import UserError
from kerasdistill.seeds import permutation
from pipelines import image_folder
from pipelines.examples import Examples, ImageData, Raw
from pipelines.images import IMAGE_SHAPE, Shape, array_square, check_shape, square

UNLABELLED = "unlabelled:"
HELD_OUT_FRACTION = 0.2  # 10,000 of CIFAR's 50,000 (Urban, section 2.1)
QUICK_EXAMPLES = {"train": 4_000, "validation": 1_000, "test": 2_000}
_PROBE_SECONDS = 10


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

    A fifth of every class is held out for validation, chosen by `split_seed`
    alone; where there is no test split, a fifth is cut off for it first. What was
    done to the images and the splits is said on stderr.

    Args:
        name: "digits" (scikit-learn's, embedded), "folder:PATH" (train/<class>/*,
            optional test/<class>/*), "unlabelled:PATH" (images in it, at any depth)
            or the name of a TFDS image classification set.
        data_dir: where TFDS keeps its data (None: its own default).
        split_seed: chooses the held-out examples.
        quick: keep at most 4,000 / 1,000 / 2,000 examples.
        class_names: of unlabelled images' teacher; other sets have their own.
        image_shape: what all images are brought to: height, width (the same) and 3
            channels, or 1 for grey.

    Raises:
        UserError: unknown name, unreadable image, a split too small.
    """
    check_shape(image_shape)
    if name == "digits":
        raw = _digits(image_shape)
    elif name.startswith("folder:"):
        raw = image_folder.read(Path(name.removeprefix("folder:")), image_shape)
    elif name.startswith(UNLABELLED):
        folder = Path(name.removeprefix(UNLABELLED))
        raw = image_folder.read_unlabelled(folder, class_names, image_shape)
    else:
        raw = _tfds(name, data_dir, image_shape)
    if not name.startswith(UNLABELLED):
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


def _hold_out(examples: Examples, seed: int, purpose: str) -> tuple[Examples, Examples]:
    """Cuts a fifth of every class off, at least one image."""
    held = np.zeros(len(examples), bool)
    for label in map(int, np.unique(examples.labels)):
        members = np.flatnonzero(examples.labels == label)
        count = max(1, round(HELD_OUT_FRACTION * len(members)))
        chosen = permutation(len(members), seed, purpose, label)[:count]
        held[members[chosen]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))


def _digest(splits: Mapping[str, Examples], class_names: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in splits.values():
        for array in (split.images, split.labels, split.sample_ids):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _digits(shape: Shape) -> Raw:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.stack([square(Image.fromarray(p), shape) for p in pixels])
    return Raw(
        name="digits",
        version="scikit-learn",
        class_names=tuple(str(name) for name in bunch.target_names),
        train=Examples.numbered(images, bunch.target),
        test=None,
        notes=(f"8x8 grey images were brought to {_text(shape)}",),
    )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _tfds(name: str, data_dir: str | None, shape: Shape) -> Raw:
    builder = _builder(name, data_dir)
    config = getattr(builder, "builder_config", None)
    name = f"{builder.name}/{config.name}" if config else builder.name
    if not builder.is_prepared():
        _prepare(builder, name)
    features, splits = builder.info.features, builder.info.splits
    class_names = _class_names(features, name)
    if "train" not in splits:
        raise UserError(f"data set {name!r} has no train split ({', '.join(splits)})")
    notes = ()
    if features["image"].shape != shape:
        brought = f"images were brought to {_text(shape)} by short side and centre crop"
        notes = (brought,)
    test = _read_tfds(builder, "test", shape) if "test" in splits else None
    if test is not None and test.labels.min() < 0:
        test = None
        notes += ("the labels of its test split are not public",)
    return Raw(
        name=name,
        version=str(builder.version),
        class_names=class_names,
        train=_read_tfds(builder, "train", shape),
        test=test,
        notes=notes,
    )


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        # It prints advice about other collections, and stdout may be JSON.
        with contextlib.redirect_stdout(sys.stderr):
            return tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError, ImportError) as error:
        known = ["digits", *tfds.list_builders(with_community_datasets=False)]
        base = re.split("[:/]", name)[0]
        if base in known:
            reason = str(error).strip().splitlines()[0].split('}": ')[-1]
            raise UserError(f"data set {name!r} cannot be opened: {reason}") from error
        near = difflib.get_close_matches(base.lower(), known, n=1)
        if Path(name).is_dir():
            near = [f"folder:{name}"]
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise UserError(
            f"data set {name!r} is not known{hint} expected digits, folder:PATH or the "
            "name of a TFDS image classification set"
        ) from error


def _class_names(features: Mapping[str, Any], name: str) -> tuple[str, ...]:
    known = {"image", "label"} <= set(features)
    names = getattr(features["label"], "names", None) if known else None
    if not names:
        raise UserError(
            f"data set {name!r} has no 'image' and 'label' of classes "
            f"({', '.join(features)}); choose an image classification set"
        )
    return tuple(names)


def _prepare(builder: Any, name: str) -> None:
    urls = builder.url_infos or {}
    megabytes = sum(info.size or 0 for info in urls.values()) / 1e6
    size = f"up to {megabytes:,.0f} MB" if megabytes else "size not known"
    print(f"downloading {name} ({size}) to {builder.data_dir}", file=sys.stderr)
    try:
        _probe(urls)
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except Exception as error:  # TFDS raises what its many downloaders raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"data set {name!r} is neither under {builder.data_dir} nor "
            f"downloadable ({reason}); pass --data-dir or prepare it with tfds build"
        ) from error


def _probe(urls: Mapping[str, Any]) -> None:
    """Asks every host once: TFDS retries for minutes where there is no network."""
    import requests

    hosts = {urlsplit(url).netloc: url for url in urls if url.startswith("http")}
    for host, url in hosts.items():
        try:
            with requests.get(url, stream=True, timeout=_PROBE_SECONDS) as response:
                status = response.status_code
        except requests.RequestException as error:
            raise ConnectionError(
                f"{host} cannot be reached: {type(error).__name__}"
            ) from error
        if status >= 500:
            raise ConnectionError(f"{host} answers with status {status}")


def _read_tfds(builder: Any, split: str, shape: Shape) -> Examples:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        dataset = builder.as_dataset(
            split=split,
            # One file at a time: the order, and so the sample ids, never change.
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
        pairs = dataset.map(lambda example: (example["image"], example["label"]))
        if builder.info.features["image"].shape == shape:
            images, labels = zip(*pairs.batch(1_000).as_numpy_iterator(), strict=True)
            return Examples.numbered(np.concatenate(images), np.concatenate(labels))
        images, labels = [], []
        for image, label in pairs.as_numpy_iterator():
            images.append(array_square(image, shape))
            labels.append(label)
    except (tf.errors.OpError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"data set {builder.name!r} under {builder.data_dir} cannot be read "
            f"({reason}); remove that folder and prepare it again"
        ) from error
    return Examples.numbered(np.stack(images), np.asarray(labels))
