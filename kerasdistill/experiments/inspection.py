"""Looking into a distillation set, or at what a model gets wrong."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.experiments.answers import logits_of
from kerasdistill.experiments.precompute import FOLDER
from kerasdistill.files import write_atomic, write_json_atomic
from kerasdistill.reports import findings, plots, sheets
from kerasdistill.running.opening import opened
from kerasdistill.runs import read_json
from kerasdistill.training import board
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored.integrity import read_manifest
from pipelines.stored.layout import AVERAGING, MANIFEST_NAME

SAMPLE = 4096  # views of a set that are looked at
_BATCH = 256
JSON = "inspection.json"


def set_at(path: str | Path) -> Path | None:
    """The distillation set at a path, or of the run there; None if there is none."""
    for place in (Path(path), Path(path) / FOLDER):
        if (place / MANIFEST_NAME).is_file():
            return place
    return None


def model_at(path: str | Path) -> Path:
    """The `.keras` file or SavedModel at a path, or of the run there.

    Raises:
        UserError: neither is there.
    """
    path = Path(path)
    if path.suffix == ".keras" and path.is_file():
        return path
    for place in (path / "model.keras", path / "saved_model.pb"):
        if place.is_file():
            return place if place.suffix == ".keras" else path
    raise UserError(
        f"{path} is no distillation set, no model and no run with one of them; pass "
        "such a path"
    )


def of_set(
    path: Path,
    *,
    data: ImageData | None,
    workdir: str | Path,
    sample: int,
    output: Path,
) -> dict[str, Any]:
    """Looks at a finished set's first views.

    Args:
        path: its directory.
        data: what it was made from; a replay set makes its views from it.
        workdir: for `opened`.
        sample: how many views, from the first pass on.
        output: where pictures, `inspection.json` and TensorBoard's files go.

    Returns:
        The content of `inspection.json`.
    """
    stored = opened(path, data=data, workdir=workdir)
    manifest = stored.manifest
    names = list(manifest.class_names)
    with stored.reading():
        images, logits, labels = _views(stored, sample)
        agreeing = _members_agreeing(stored, logits, len(labels))
    known = labels if stored.labelled else None
    agreement = _agreement_by_shard(stored) if stored.labelled else []
    if known is None:
        pairs, agreed = findings.doubts(logits, names), None
    else:
        matrix = evaluation.confusion(logits.argmax(axis=1), labels, classes=len(names))
        pairs = findings.confused(matrix, names)
        agreed = evaluation.accuracy(logits, labels)
    found = {
        "kind": "distillation set",
        "path": str(path),
        "dataset": manifest.dataset["name"],
        "store": manifest.store,
        "passes": manifest.passes,
        "views": manifest.views,
        "teachers": len(manifest.teachers),
        "labelled": known is not None,
        "sampled": len(labels),
        "label_agreement": agreed,
        "confidence": findings.confidence(logits, known),
        "agreement_by_shard": findings.shares(agreement) if agreement else [],
        "members_agreeing": agreeing,
        "confused": pairs,
    }
    captions, good = _captions(logits[: sheets.MOST], known, names)
    return _kept(
        found,
        output,
        {
            "views": lambda: sheets.contact_sheet(images, captions, good=good),
            "histograms": lambda: sheets.histograms(
                found["confidence"],
                found["agreement_by_shard"],
                what="shards by fraction of views whose label is named",
            ),
            **sheets.lists(found),
        },
        {"label agreement": agreed},
    )


def of_model(
    path: Path,
    *,
    data: ImageData,
    split: str,
    teachers: Sequence[str],
    output: Path,
) -> dict[str, Any]:
    """What a model gets wrong, how far its confidence can be trusted, and where it
    parts from its teacher.

    Args:
        path: a `.keras` file or a SavedModel, images to logits.
        data: its data set.
        split: validation, test or train.
        teachers: models whose mean logits are the teacher's. Without any, those that
            the run's distillation set holds of the validation images.
        output: as for `of_set`.
    """
    examples, names = data.split(split), list(data.class_names)
    if not data.labelled or not len(examples):
        raise UserError(f"{data.name} has no labelled {split} images to inspect with")
    logits = logits_of(path, examples.images, data)
    taught = _teacher_logits(path, data, split, teachers)
    matrix = evaluation.confusion(
        logits.argmax(axis=1), examples.labels, classes=len(names)
    )
    parted = None
    if taught is not None:
        parted = findings.disagreement(logits, taught, examples.labels)
    found = {
        "kind": "model",
        "path": str(path),
        "dataset": data.name,
        "split": split,
        "num_examples": len(examples),
        "accuracy": evaluation.accuracy(logits, examples.labels),
        "class_names": names,
        "confusion": matrix.tolist(),
        "per_class": findings.per_class(matrix, names),
        "calibration": evaluation.calibration(logits, examples.labels),
        "confidence": findings.confidence(logits, examples.labels),
        "confused": findings.confused(matrix, names),
        "disagreement": parted,
    }
    drawn = {
        "confusion": lambda: sheets.confusion(matrix, names),
        "calibration": lambda: sheets.calibration(found["calibration"]),
        **sheets.lists(found),
    }
    if parted and parted["places"]:
        places = np.array(parted["places"][: sheets.MOST])
        labels = examples.labels[places]
        captions = [
            f"{names[label]}\nstudent: {mine}\nteacher: {other}"
            for label, mine, other in zip(
                labels,
                findings.top_three(logits[places], names),
                findings.top_three(taught[places], names),
                strict=True,
            )
        ]
        good = list(logits[places].argmax(axis=1) == labels)
        drawn["disagreements"] = lambda: sheets.contact_sheet(
            examples.images[places], captions, good=good
        )
    numbers = {"accuracy": found["accuracy"], "ece": found["calibration"]["ece"]}
    return _kept(found, output, drawn, numbers)


def _views(stored: DistillationSet, sample: int) -> tuple[np.ndarray, ...]:
    """Images for the sheet, and logits and labels of the sample."""
    images, logits, labels = None, [], []
    for batch in stored.dataset(_BATCH).as_numpy_iterator():
        if images is None:
            images = batch["image"][: sheets.MOST]
        logits.append(batch["teacher_logits"])
        labels.append(batch["label"])
        if sum(map(len, labels)) >= sample:
            break
    return images, np.concatenate(logits)[:sample], np.concatenate(labels)[:sample]


def _captions(
    logits: np.ndarray, labels: np.ndarray | None, names: Sequence[str]
) -> tuple[list[str], list[bool | None]]:
    """The first choices of each view, and whether the first of them is the label."""
    captions = findings.top_three(logits, names)
    if labels is None:
        return captions, [None] * len(captions)
    firsts = labels[: len(captions)]
    captions = [
        f"{names[label]}:\n{text}" for label, text in zip(firsts, captions, strict=True)
    ]
    return captions, list(logits.argmax(axis=1) == firsts)


def _agreement_by_shard(stored: DistillationSet) -> list[float]:
    """Of the passes' shards alone: the validation images are no views."""
    layout = stored.manifest.layout
    names = {
        layout.shard_name(*shard)
        for index in range(layout.passes)
        for shard in layout.shards_of(index)
    }
    shards = [shard for shard in stored.manifest.shards if shard.name in names]
    return [shard.teacher_label_agreement for shard in shards]


def _members_agreeing(
    stored: DistillationSet, logits: np.ndarray, sample: int
) -> list[int]:
    """Of how many views 0, 1, ... members name the mean's class; empty if the set
    doesn't keep them, or has one."""
    count = len(stored.manifest.teachers)
    if not stored.manifest.keep_members or count == 1:
        return []
    votes = np.zeros(len(logits), int)
    for place in range(count):
        _, own, _ = _views(stored.of((place,)), sample)
        votes += own.argmax(axis=1) == logits.argmax(axis=1)
    return np.bincount(votes, minlength=count + 1).tolist()


def _teacher_logits(
    path: Path, data: ImageData, split: str, teachers: Sequence[str]
) -> np.ndarray | None:
    if teachers:
        images = data.split(split).images
        return np.mean([logits_of(t, images, data) for t in teachers], axis=0)
    results = (path if path.is_dir() else path.parent) / "results.json"
    if split != "validation" or not results.exists():
        return None
    origin = read_json(results).get("distillation_set") or {}
    place = set_at(origin["path"]) if "path" in origin else None
    if place is None or origin.get("averaging", AVERAGING) != AVERAGING:
        return None
    manifest = read_manifest(place)
    if manifest.dataset != data.identity():
        return None
    members = tuple(number - 1 for number in origin.get("members") or ())
    return DistillationSet(place, manifest, data, members).validation_logits()


def _kept(
    found: dict[str, Any],
    output: Path,
    drawn: Mapping[str, Callable[[], Any]],
    numbers: Mapping[str, float | None],
) -> dict[str, Any]:
    """Draws, where matplotlib is installed, and writes all under `output`."""
    pictures = {}
    if plots.available():
        pictures = {name: plots.as_png(draw()) for name, draw in drawn.items()}
        known = {name: each for name, each in numbers.items() if each is not None}
        board.write_pictures(output / "board", pictures, known)
    for name, content in pictures.items():
        write_atomic(output / f"{name}.png", content)
    found["pictures"] = [str(output / f"{name}.png") for name in pictures]
    found["board"] = str(output / "board") if pictures else None
    write_json_atomic(output / JSON, found)
    return found
