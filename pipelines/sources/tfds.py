"""Image classification sets of TensorFlow Datasets."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from kerasdistill import packages, terminal
from kerasdistill.errors import UserError, reason
from pipelines.sources.examples import Examples, Raw, Request
from pipelines.sources.shapes import Shape, in_words

_PROBE_SECONDS = 10


def read(request: Request) -> Raw:
    """The train and test split of a set, which is downloaded if it is not there.

    UserError if there is no such set, or it has no images and labels or cannot be read.
    """
    # It imports importlib_resources, and does not say so to pip.
    needs = ("tensorflow_datasets", "importlib_resources")
    packages.require(*needs, by=f"data set {request.name!r}")
    builder, shape = _builder(request.name, request.data_dir), request.image_shape
    config = getattr(builder, "builder_config", None)
    name = f"{builder.name}/{config.name}" if config else builder.name
    if not builder.is_prepared():
        _prepare(builder, name)
    features, splits = builder.info.features, builder.info.splits
    class_names = _class_names(features, name)
    if "train" not in splits:
        raise UserError(f"data set {name!r} has no train split ({', '.join(splits)})")
    notes, size = (), in_words(shape)
    if features["image"].shape != shape:
        notes += (f"images were brought to {size} by short side and centre crop",)
    test = _read_split(builder, "test", shape) if "test" in splits else None
    if test is not None and test.labels.min() < 0:
        test = None
        notes += ("the labels of its test split are not public",)
    return Raw(
        name=name,
        version=str(builder.version),
        class_names=class_names,
        train=_read_split(builder, "train", shape),
        test=test,
        notes=notes,
    )


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        # It prints advice about other collections, and stdout may be JSON.
        with terminal.libraries_aside():
            return tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError, ImportError) as error:
        names = ["digits", *tfds.list_builders(with_community_datasets=False)]
        base = re.split("[:/]", name)[0]
        if base in names:
            why = reason(error).split('}": ')[-1]
            raise UserError(f"data set {name!r} cannot be opened: {why}") from error
        near = difflib.get_close_matches(base.lower(), names, n=1)
        if Path(name).is_dir():
            near = [f"folder:{name}"]
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise UserError(
            f"data set {name!r} is not known{hint} expected digits, folder:PATH or the "
            "name of a TFDS image classification set"
        ) from error


def _class_names(features: Mapping[str, Any], name: str) -> tuple[str, ...]:
    labelled = {"image", "label"} <= set(features)
    names = getattr(features["label"], "names", None) if labelled else None
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
    terminal.say(f"downloading {name} ({size}) to {builder.data_dir}")
    try:
        _probe(urls)
        with terminal.libraries_aside():
            builder.download_and_prepare()
    except Exception as error:  # TFDS raises what its many downloaders raise
        raise UserError(
            f"data set {name!r} is neither under {builder.data_dir} nor "
            f"downloadable ({reason(error)}); pass `data_dir` or prepare it with tfds "
            "build"
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


def _read_split(builder: Any, split: str, shape: Shape) -> Examples:
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
        packages.require("PIL", by="an image size that is not the data set's own")
        from pipelines.sources.images import array_square

        images, labels = [], []
        for image, label in pairs.as_numpy_iterator():
            images.append(array_square(image, shape))
            labels.append(label)
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(
            f"data set {builder.name!r} under {builder.data_dir} cannot be read "
            f"({reason(error)}); remove that folder and prepare it again"
        ) from error
    return Examples.numbered(np.stack(images), np.asarray(labels))
