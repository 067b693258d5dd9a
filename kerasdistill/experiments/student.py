"""A student on a distillation set (fact sheet A5)."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill import devices
from kerasdistill.experiments import residence, training
from kerasdistill.experiments.opening import opened
from kerasdistill.models import student
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines import distillation_set
from pipelines import resident as resident_passes
from pipelines.datasets import ImageData
from pipelines.layout import AVERAGING


def run(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    distillation_set_path: str | Path,
    passes: int | None = None,
    members: Sequence[int] | None = None,
    averaging: str = AVERAGING,
    resident: str = "auto",
) -> dict[str, Any]:
    """Trains the student, or finishes or finds the run that did.

    One epoch is one stored pass, in the stored order; after the last pass the first
    comes again.

    Args:
        recipe: architecture and training.
        data: must be what the set was made from; also gives validation and test.
        workdir: where the run folder goes.
        distillation_set_path: a finished set, a directory or a URL.
        passes: how many of its passes to use, from the first (None: all).
        members: whose logits to learn, numbered from 1 (None: all); choosing needs a
            set that keeps members, and so does another averaging.
        averaging: how their logits become one: `pipelines.averaging`.
        resident: whether a replay set's views are held in memory ("always", "never",
            or "auto": where that is faster). The results are the same, so it is no
            part of the request.

    Returns:
        The content of `results.json`.
    """
    stored = opened(
        distillation_set_path,
        data=data,
        workdir=workdir,
        expect={"augmentation": base.fields(recipe.augmentation)},
        members=members,
        averaging=averaging,
    )
    passes = stored.manifest.passes if passes is None else passes
    held = residence.choose(
        stored, asked=resident, passes=passes, epochs=recipe.training.epochs
    )
    request = {
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "distillation_set": {
            "passes": passes,
            "shards_digest": stored.shards_digest(passes),
        },
    }
    with RunDirectory.open(workdir, "student", request) as folder:
        if (found := folder.results()) is not None:
            return found
        print(f"{folder.path}: {held.because}", file=sys.stderr)
        stream = stored_stream(
            stored,
            batch_size=recipe.training.batch_size,
            passes=passes,
            in_memory=held.in_memory,
            keep=held.keep,
        )
        origin = {
            "path": str(distillation_set_path),
            "content_digest": stored.manifest.content_digest,
            "averaging": averaging,
            "members": members,
            **request["distillation_set"],
        }
        return _trained(recipe, stored, stream, data=data, folder=folder, origin=origin)


def _trained(
    recipe: base.StudentRecipe,
    stored: distillation_set.DistillationSet,
    stream: EpochStream,
    *,
    data: ImageData,
    folder: RunDirectory,
    origin: dict[str, Any],
) -> dict[str, Any]:
    shared = {
        "data": data,
        "run": folder,
        "teacher_logits": stored.validation_logits(),
    }
    with stored.reading():
        model, fitted = training.train(student.build, recipe, stream=stream, **shared)
    results = training.publish(
        model, fitted, recipe, kind="student", distillation_set=origin, **shared
    )
    return folder.finish(results)


def stored_stream(
    stored: distillation_set.DistillationSet,
    *,
    batch_size: int,
    passes: int,
    in_memory: bool = False,
    keep: bool = False,
) -> EpochStream:
    """The set's first passes as training data: epoch e is pass e modulo `passes`.

    `in_memory` and `keep` change where a replay set's views come from, not what they
    are; see `pipelines.resident`.
    """
    shown = dict if stored.labelled else _without_label
    if in_memory:
        held = resident_passes.stream(
            stored,
            batch_size=batch_size,
            passes=passes,
            keep=keep,
            strategy=devices.strategy(),
        )
        return replace(held, complete=lambda batch: shown(held.complete(batch)))

    def batches(first_epoch: int):
        first = first_epoch % passes
        begun = stored.dataset(batch_size, first_pass=first, passes=passes - first)
        every = begun.concatenate(stored.dataset(batch_size, passes=passes).repeat())
        return every if stored.labelled else every.map(shown)

    return EpochStream(
        steps_per_epoch=stored.steps_per_pass(batch_size),
        examples_per_epoch=stored.manifest.layout.num_samples,
        batches=batches,
    )


def _without_label(batch):
    return {name: value for name, value in batch.items() if name != "label"}
