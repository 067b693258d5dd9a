"""A finished model in other formats, tried on images of its own data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill.experiments import adapting
from kerasdistill.experiments.adapting import AS_THEY_ARE, Brought
from kerasdistill.exports import cards, formats, model_card
from kerasdistill.running.opening import opened
from kerasdistill.runs import read_json
from kerasdistill.seeds import permutation
from kerasdistill.terminal import say
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet

NUM_IMAGES = 256  # to compare on, and as many to learn int8's ranges from


def run(
    path: str | Path,
    *,
    target: str | Path,
    formats_asked: Sequence[str],
    workdir: str | Path,
    data: ImageData | None = None,
    distillation_set_path: str | None = None,
    fold_bottleneck: bool = False,
    seed: int = 0,
    brought: Brought = AS_THEY_ARE,
) -> dict[str, Any]:
    """Writes `target` with every format asked for, or nothing.

    Args:
        path: a model, see `adapting.read`; its card lies beside it.
        target: the folder to write.
        formats_asked: names in `formats.FORMATS`.
        workdir: where a copy of a set at a URL goes, and a SavedModel is trusted.
        data: gives validation images to compare on and training images for int8's
            ranges (None: the set's).
        distillation_set_path: its views take their place.
        fold_bottleneck: see `models.copies`.
        seed: chooses images.
        brought: how the model is read.

    Returns:
        saved_model (the folder; None if it was not asked for), parity (of the first
        format), exports (by format: file, bytes, compute, parity, latency), refused
        (by format, why) and complete (whether none was).
    """
    formats.require(formats_asked)
    classes = data and data.num_classes
    if distillation_set_path is not None:
        stored = opened(distillation_set_path, data=data, workdir=workdir)
        classes, views = len(stored.manifest.class_names), _views(stored)
        representative, images = views[::2], views[1::2]
        source = f"views of {distillation_set_path}"
    else:
        representative = _some(data.train.images, seed)
        images = _some(data.validation.images, seed)
        source = f"images of {data.name}"
    if data is not None:
        model = adapting.looked_at(path, data=data, brought=brought)
    else:
        shape = {"image_shape": images.shape[1:], "num_classes": classes}
        model, _ = adapting.read(path, **shape, brought=brought)
    say(f"{target}: {', '.join(formats_asked)}")
    exports, refused = formats.write_formats(
        model,
        target,
        formats=formats_asked,
        card={**_card(path), "export_images": source},
        images=images,
        representative=representative,
        fold_bottleneck=fold_bottleneck,
        workdir=workdir,
    )
    return {
        "saved_model": str(target) if "saved-model" in exports else None,
        "directory": str(target),
        "parity": next(iter(exports.values()))["parity"],
        "exports": exports,
        "refused": refused,
        "complete": not refused,
    }


def _card(path: str | Path) -> dict[str, Any]:
    """The model's card, with what the results of its run say of it."""
    card, results = cards.read_card(path) or {}, Path(path).parent / "results.json"
    found = read_json(results) if card and results.is_file() else {}
    same = found.get("weights_digest") == card.get("weights_digest")
    return model_card.with_results(card, found) if same else card


def _views(stored: DistillationSet) -> np.ndarray:
    batches = stored.dataset(2 * NUM_IMAGES, passes=1)
    with stored.reading():
        return next(batches.as_numpy_iterator())["image"]


def _some(images: np.ndarray, seed: int) -> np.ndarray:
    return images[permutation(len(images), seed, "export")[:NUM_IMAGES]]
