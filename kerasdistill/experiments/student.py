"""A student on a distillation set (fact sheet A5)."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasdistill import devices
from kerasdistill.recipes import base
from kerasdistill.running import memory, opening, steps, timing, training
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored import resident as resident_passes
from pipelines.stored.layout import AVERAGING
from pipelines.stored.stores import STORES
from pipelines.views import augment, live_views

KIND = "student"  # of the run, and the step's name in a plan


def step(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    given: str | Path | None = None,
    made: str | None = None,
    store: str | None = None,
    passes: int | None = None,
    members: Sequence[int] | None = None,
    averaging: str = AVERAGING,
    resident: str = "auto",
) -> Step:
    """The step that trains a student.

    Args:
        recipe: architecture and training.
        data: as for `run`, like the options after `store`.
        workdir: where the run folder goes.
        given: a finished set, a directory or a URL; or
        made: the name of the step that makes it, and
        store: how that keeps views.
    """
    signal = {"members": members, "averaging": averaging}
    expect = {"augmentation": augment.to_json(recipe.augmentation)}

    def set_path(before: Results) -> str:
        return before[made]["distillation_set"] if made else str(given)

    def described(before: Results) -> DistillationSet:
        return opening.described(set_path(before), data=data, expect=expect, **signal)

    def place(before: Results) -> RunDirectory:
        stored = described(before)
        identity = passes_asked(stored, passes or stored.manifest.passes)
        return run_directory(recipe, data=data, workdir=workdir, asked=identity)

    def cost(run: RunDirectory | None, before: Results) -> Cost:
        kept = store or described(before).manifest.store
        stream = like_stored(recipe, data, store=kept)
        speed = timing.measure(recipe, stream=stream, data=data)
        return timing.training_cost(recipe, speed=speed, data=data, run=run)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        path = set_path(before)
        how = {"data": data, "workdir": workdir}
        stored = opening.opened(path, expect=expect, **how, **signal)
        wanted = passes or stored.manifest.passes
        held = memory.choose(
            stored, asked=resident, passes=wanted, epochs=recipe.training.epochs
        )
        print(f"{run.path}: {held.because}", file=sys.stderr)
        stream = stored_stream(
            stored,
            batch_size=recipe.training.batch_size,
            passes=wanted,
            in_memory=held.in_memory,
            keep=held.keep,
        )
        shared = {"data": data, "run": run}
        shared["teacher_logits"] = stored.validation_logits()
        with stored.reading():
            model, fitted = training.train(recipe, stream=stream, **shared)
        identity = passes_asked(stored, wanted)
        origin = origin_of(stored, path, members=members, asked=identity)
        return training.publish(
            model, fitted, recipe, kind=KIND, distillation_set=origin, **shared
        )

    return Step(KIND, place, work, cost, needs=(made,) if made else ())


def run(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    distillation_set_path: str | Path,
    only_plan: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Trains the student, or finishes or finds the run that did.

    One epoch is one stored pass, in the stored order; after the last pass the first
    comes again.

    Args:
        recipe: architecture and training.
        data: must be what the set was made from; also gives validation and test.
        workdir: where the run folder goes.
        distillation_set_path: a finished set, a directory or a URL.
        only_plan: say what is left and stop.
        options: of `step`: passes (how many of its passes to use, from the first;
            None: all), members (whose logits to learn, numbered from 1; None: all;
            choosing needs a set that keeps members, and so does another averaging),
            averaging (how their logits become one: `pipelines.stored.averaging`) and
            resident (whether a replay set's views are held in memory: "always",
            "never", or "auto": where that is faster; no part of the request, as the
            results are the same).

    Returns:
        The content of `results.json`; `planned_seconds` and `process_seconds` are of
        the process that finished the run, "plan" is the list of its steps.
    """
    how = {"data": data, "workdir": workdir, "given": distillation_set_path}
    story = [step(recipe, **how, **options)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[KIND]


def run_directory(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    asked: dict[str, Any],
) -> RunDirectory:
    """Where the student of these passes (see `passes_asked`) goes, or went."""
    request = {
        "recipe": recipe,
        "dataset": data.identity(),
        "distillation_set": asked,
    }
    return RunDirectory.open(workdir, KIND, request)


def origin_of(
    stored: DistillationSet,
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


def passes_asked(stored: DistillationSet, passes: int) -> dict[str, Any]:
    """What of the set is part of a student's identity."""
    return {"passes": passes, "shards_digest": stored.shards_digest(passes)}


def stored_stream(
    stored: DistillationSet,
    *,
    batch_size: int,
    passes: int,
    in_memory: bool = False,
    keep: bool = False,
) -> EpochStream:
    """The set's first passes as training data: epoch e is pass e modulo `passes`.

    `in_memory` and `keep` change where a replay set's views come from, not what they
    are; see `pipelines.stored.resident`.
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


def like_stored(
    recipe: base.StudentRecipe, data: ImageData, *, store: str
) -> EpochStream:
    """Batches that cost what stored ones do; the logits are made up.

    The reader of images takes next to nothing beside a training, and a replay makes
    its views again.
    """
    live = live_views.stream(
        data.train,
        augmentation=recipe.augmentation,
        seed=0,
        batch_size=recipe.training.batch_size,
    )

    def with_logits(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        shape = [tf.shape(batch["image"])[0], data.num_classes]
        shown = batch if data.labelled else without_label(batch)
        return {**shown, "teacher_logits": tf.zeros(shape)}

    def batches(first_epoch: int) -> tf.data.Dataset:
        made = live.batches(first_epoch)
        if not STORES[store].needs_data:
            made = made.take(4).cache().repeat()
        return made.map(with_logits)

    return replace(live, batches=batches)


def without_label(batch):
    return {name: value for name, value in batch.items() if name != "label"}
