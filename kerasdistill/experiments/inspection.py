"""Looking into a distillation set, or at what a model gets wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill import evaluation
from kerasdistill.errors import UserError
from kerasdistill.experiments import adapting, inspected
from kerasdistill.experiments.adapting import AS_THEY_ARE, Brought
from kerasdistill.experiments.labelling import FOLDER
from kerasdistill.exports import cards
from kerasdistill.models import loading
from kerasdistill.reports import findings, sheets
from kerasdistill.running.opening import opened
from kerasdistill.runs import read_json
from pipelines import checking
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored.integrity import read_manifest
from pipelines.stored.layout import AVERAGING, MANIFEST_NAME

SAMPLE = 4096  # views of a set that are looked at
_BATCH = 256  # of them at once


def set_at(path: str | Path) -> Path | None:
    """The distillation set at a path, or of the run there; None if there is none."""
    folders = (Path(path), Path(path) / FOLDER)
    return next((each for each in folders if (each / MANIFEST_NAME).is_file()), None)


def model_at(path: str | Path) -> Path:
    """The model file or SavedModel at a path or of the run there; or UserError."""
    path = Path(path)
    if path.suffix in loading.SUFFIXES and path.is_file():
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
    board: Path | None = None,
) -> dict[str, Any]:
    """Looks at the first `sample` views of the finished set in a directory.

    Pictures and `inspection.json` go to `output`, TensorBoard's files to `board`
    (None: there too). A replay set makes its views from `data`.

    Returns:
        The content of `inspection.json`.
    """
    stored = opened(path, data=data, workdir=workdir)
    manifest = stored.manifest
    names = list(manifest.class_names)
    with stored.reading():
        images, logits, labels = _views(stored, sample)
        agreeing = _members_agreeing(stored, logits, len(labels))
    count = len(labels)
    agreement, agreed = [], None
    if stored.labelled:
        agreement = _agreement_by_shard(stored)
        pairs = findings.confused(_confusion(logits, labels, names), names)
        agreed = evaluation.accuracy(logits, labels)
    else:
        labels, pairs = None, findings.doubts(logits, names)
    report = {
        "kind": "distillation set",
        "path": str(path),
        "dataset": manifest.dataset["name"],
        "store": manifest.store,
        "passes": manifest.passes,
        "views": manifest.views,
        "teachers": len(manifest.teachers),
        "labelled": stored.labelled,
        "sampled": count,
        "label_agreement": agreed,
        "confidence": findings.confidence(logits, labels),
        "agreement_by_shard": findings.shares(agreement) if agreement else [],
        "members_agreeing": agreeing,
        "confused": pairs,
    }
    captions, good = _captions(logits[: sheets.MOST], labels, names)
    both = (report["confidence"], report["agreement_by_shard"])
    what = "shards by fraction of views whose label is named"
    drawn = {
        "views": lambda: sheets.contact_sheet(images, captions, good=good),
        "histograms": lambda: sheets.histograms(*both, what=what),
        **sheets.lists(report),
    }
    places = {"output": output, "board": board}
    return inspected.kept(report, drawn, {"label agreement": agreed}, **places)


def of_model(
    path: Path,
    *,
    data: ImageData,
    split: str,
    teachers: Sequence[str],
    output: Path,
    board: Path | None = None,
    brought: Brought = AS_THEY_ARE,
) -> dict[str, Any]:
    """What a model gets wrong, how far its confidence can be trusted, and where it
    differs from its teacher.

    Args:
        path: a model, see `adapting.read`.
        data: its data set.
        split: validation, test or train.
        teachers: models whose mean logits are the teacher's. Without any, those that
            the run's distillation set holds of the validation images.
        output, board: where to write, as for `of_set`.
        brought: how the models are read.

    Returns:
        The content of `inspection.json`.
    """
    examples, names = data.split(split), list(data.class_names)
    if not data.labelled or not len(examples):
        raise UserError(f"{data.name} has no labelled {split} images to inspect with")
    how = {"data": data, "brought": brought}
    logits = logits_of(path, examples.images, **how)
    taught = _teacher_logits(path, split, teachers, **how)
    matrix, parted = _confusion(logits, examples.labels, names), None
    if taught is not None:
        parted = findings.disagreement(logits, taught, examples.labels)
    report = {
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
        "calibration": lambda: sheets.calibration(report["calibration"]),
        **sheets.lists(report),
    }
    if parted and parted["places"]:
        chosen = np.array(parted["places"][: sheets.MOST])
        labels = examples.labels[chosen]
        mine, theirs = (findings.top_three(z[chosen], names) for z in (logits, taught))
        captions = [
            f"{names[label]}\nstudent: {own}\nteacher: {other}"
            for label, own, other in zip(labels, mine, theirs, strict=True)
        ]
        good = list(logits[chosen].argmax(axis=1) == labels)
        drawn["disagreements"] = lambda: sheets.contact_sheet(
            examples.images[chosen], captions, good=good
        )
    numbers = {"accuracy": report["accuracy"], "ece": report["calibration"]["ece"]}
    return inspected.kept(report, drawn, numbers, output=output, board=board)


def logits_of(
    path: str | Path,
    images: np.ndarray,
    *,
    data: ImageData,
    brought: Brought = AS_THEY_ARE,
) -> np.ndarray:
    """float32 [N, classes] of uint8 images [N, H, W, C] of the data, by the model at
    `path`; see `adapting.looked_at`.

    Raises:
        UserError: it takes no images, or knows other classes or another order.
        StaleArtifactError: it is not what its card describes.
    """
    model = adapting.looked_at(path, data=data, brought=brought)
    card = cards.read_card(path) or {}
    if not checking.same_names(card.get("class_names"), data.class_names):
        raise UserError(
            f"{path} knows other classes, or in another order, than {data.name} has; "
            "name its own data set with `data`"
        )
    return evaluation.predict(model, images)


def _confusion(
    logits: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    return evaluation.confusion(logits.argmax(axis=1), labels, classes=len(names))


def _views(stored: DistillationSet, sample: int) -> tuple[np.ndarray, ...]:
    """Images for the sheet, and logits and labels of the sample."""
    images, logits, labels = None, [], []
    for batch in stored.dataset(_BATCH).as_numpy_iterator():
        images = batch["image"][: sheets.MOST] if images is None else images
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
    labelled = zip(firsts, captions, strict=True)
    captions = [f"{names[label]}:\n{text}" for label, text in labelled]
    return captions, list(logits.argmax(axis=1) == firsts)


def _agreement_by_shard(stored: DistillationSet) -> list[float]:
    """Of the passes' shards alone: the validation images are no views."""
    layout = stored.manifest.layout
    passes = map(layout.shards_of, range(layout.passes))
    names = {layout.shard_name(*shard) for shards in passes for shard in shards}
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
    path: Path,
    split: str,
    teachers: Sequence[str],
    *,
    data: ImageData,
    brought: Brought,
) -> np.ndarray | None:
    if teachers:
        images, how = data.split(split).images, {"data": data, "brought": brought}
        return np.mean([logits_of(each, images, **how) for each in teachers], axis=0)
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
