"""A student on a distillation set (fact sheet A5)."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill import devices
from kerasdistill.experiments import costs, plans, residence, training
from kerasdistill.experiments.opening import opened
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines import augment, distillation_set
from pipelines import resident as resident_passes
from pipelines.datasets import ImageData
from pipelines.layout import AVERAGING

KIND = "student"  # of the run, and the step's name in a plan


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
    planned: plans.Step | None = None,
    steps_before: Sequence[dict[str, Any]] = (),
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
        planned: what somebody has announced already (None: it is done here).
        steps_before: planned and real seconds of what led here (`plans.kept`).

    Returns:
        The content of `results.json`; `planned_seconds` and `process_seconds` are of
        the process that finished the run, "plan" is the list of its steps.
    """
    stored = opened(
        distillation_set_path,
        data=data,
        workdir=workdir,
        expect={"augmentation": augment.to_json(recipe.augmentation)},
        members=members,
        averaging=averaging,
    )
    passes = stored.manifest.passes if passes is None else passes
    held = residence.choose(
        stored, asked=resident, passes=passes, epochs=recipe.training.epochs
    )
    asked = passes_asked(stored, passes)
    folder = run_directory(recipe, data=data, workdir=workdir, asked=asked)
    with folder:
        if (found := folder.results()) is not None:
            return found
        print(f"{folder.path}: {held.because}", file=sys.stderr)
        piped = stored_stream(
            stored, batch_size=recipe.training.batch_size, passes=passes
        )
        # Where passes are held in memory this is a little too much: they are made once.
        about = {"stream": piped, "data": data, "run": folder}
        with stored.reading():
            step = costs.announced(planned, KIND, recipe, **about)
        stream = stored_stream(
            stored,
            batch_size=recipe.training.batch_size,
            passes=passes,
            in_memory=held.in_memory,
            keep=held.keep,
        )
        origin = origin_of(stored, distillation_set_path, members=members, asked=asked)
        results = _trained(
            recipe, stored, stream, data=data, folder=folder, origin=origin, step=step
        )
        steps = [*steps_before, plans.kept(KIND, results)]
        return folder.finish({**results, "plan": steps})


def _trained(
    recipe: base.StudentRecipe,
    stored: distillation_set.DistillationSet,
    stream: EpochStream,
    *,
    data: ImageData,
    folder: RunDirectory,
    origin: dict[str, Any],
    step: plans.Step,
) -> dict[str, Any]:
    began = time.monotonic()
    shared = {
        "data": data,
        "run": folder,
        "teacher_logits": stored.validation_logits(),
    }
    with stored.reading():
        model, fitted = training.train(recipe, stream=stream, **shared)
    results = training.publish(
        model, fitted, recipe, kind=KIND, distillation_set=origin, **shared
    )
    return {**results, **plans.tell(step, since=began)}


def run_directory(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    asked: dict[str, Any],
) -> RunDirectory:
    """Where the student of these passes (see `passes_asked`) goes, or went."""
    request = {
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "distillation_set": asked,
    }
    return RunDirectory.open(workdir, KIND, request)


def origin_of(
    stored: distillation_set.DistillationSet,
    path: str | Path,
    *,
    members: Sequence[int] | None,
    asked: dict[str, Any],
) -> dict[str, Any]:
    """What a student's results tell of the set; `asked` is `passes_asked`'s, "teachers"
    are the digests of the weights whose logits are averaged."""
    manifest = stored.manifest
    places = stored.members or range(manifest.stored_mean_of)
    return {
        "path": str(path),
        "content_digest": manifest.content_digest,
        "averaging": stored.averaging,
        "members": members,
        "teachers": [manifest.teachers[place]["weights_digest"] for place in places],
        **asked,
    }


def passes_asked(
    stored: distillation_set.DistillationSet, passes: int
) -> dict[str, Any]:
    """What of the set is part of a student's identity."""
    return {"passes": passes, "shards_digest": stored.shards_digest(passes)}


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
    shown = dict if stored.labelled else without_label
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


def without_label(batch):
    return {name: value for name, value in batch.items() if name != "label"}
