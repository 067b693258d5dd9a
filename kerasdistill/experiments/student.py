"""A student on a distillation set (docs/papers/urban2017.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasdistill.experiments import labelling
from kerasdistill.recipes import base
from kerasdistill.running import memory, opening, steps, timing, training
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.running.training import Material
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from kerasdistill.training import engines
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from pipelines.distillation_set import DistillationSet
from pipelines.stored import resident as resident_passes
from pipelines.stored.layout import AVERAGING
from pipelines.stored.stores import STORES
from pipelines.views import augment, live_views

KIND = "student"  # of the run, and the step's name in a plan


@dataclass(frozen=True)
class SetReader:
    """How trainings use a distillation set.

    Attributes:
        data: must be what the set was made from; also gives validation and test.
        workdir: where a copy of a set at a URL goes.
        augmentation: must be that of the set.
        passes: how many of its passes to use, from the first (None: all).
        members: whose logits to learn, numbered from 1 (None: all). Choosing needs a
            set that keeps members, and so does another averaging.
        averaging: how their logits become one: `pipelines.stored.averaging`.
        resident: whether a replay set's views are held in memory: "always", "never",
            or "auto": where that is faster. Results are the same.
    """

    data: ImageData
    workdir: str | Path
    augmentation: Any
    passes: int | None = None
    members: Sequence[int] | None = None
    averaging: str = AVERAGING
    resident: str = "auto"

    def described(self, path: str | Path) -> DistillationSet:
        """The set by its manifest alone; see `opening.described`."""
        return opening.described(path, data=self.data, **self._options)

    def identity(self, stored: DistillationSet) -> dict[str, Any]:
        """What of the set is part of a student's identity."""
        passes = self.passes or stored.manifest.passes
        return {"passes": passes, "shards_digest": stored.shards_digest(passes)}

    def material(
        self, path: str | Path, settings: base.Training, *, trainings: int = 1
    ) -> Material:
        """Opens and checks the set for so many trainings with these settings."""
        how = {"data": self.data, "workdir": self.workdir}
        stored = opening.opened(path, **how, **self._options)
        passes = self.passes or stored.manifest.passes
        epochs = trainings * (settings.epochs or timing.ASSUMED_EPOCHS)
        how = {"resident": self.resident, "passes": passes, "epochs": epochs}
        held = memory.choose(stored, **how)
        say(f"{path}: {held.because}")
        stream = stored_stream(
            stored,
            batch_size=settings.batch_size,
            passes=passes,
            in_memory=held.in_memory,
            keep=held.keep,
        )
        with stored.reading():
            logits = stored.validation_logits()
        return Material(
            stream=lambda recipe: stream,
            teacher_logits=logits,
            facts={
                "distillation_set": self._origin(stored, path),
                **labelling.teachers_at(path),
            },
            reading=stored.reading,
        )

    @property
    def _options(self) -> dict[str, Any]:
        expect = {"augmentation": augment.to_json(self.augmentation)}
        signal = {"members": self.members, "averaging": self.averaging}
        return {"expect": expect, **signal}

    def _origin(self, stored: DistillationSet, path: str | Path) -> dict[str, Any]:
        """What results say of the set; "teachers" are the digests of the weights
        whose logits are averaged."""
        manifest = stored.manifest
        members = stored.members or range(manifest.stored_mean_of)
        return {
            "path": str(path),
            "content_digest": manifest.content_digest,
            "averaging": stored.averaging,
            "members": self.members,
            "teachers": [manifest.teachers[i]["weights_digest"] for i in members],
            **self.identity(stored),
        }


def step(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    older: base.StudentRecipe | None = None,
    given: str | Path | None = None,
    made: str | None = None,
    store: str | None = None,
    **options: Any,
) -> Step:
    """The step that trains a student on the set at `given`, or on the one that the
    step `made` makes, which keeps views as `store`; `older` and options are those of
    `run`."""
    reader = SetReader(data, workdir, recipe.augmentation, **options)

    def set_path(before: Results) -> str:
        return before[made]["distillation_set"] if made else str(given)

    def place(before: Results) -> RunDirectory:
        identity = reader.identity(reader.described(set_path(before)))
        how = {"kind": KIND, "data": data, "workdir": workdir, "older": older}
        return training.run_directory(recipe, distillation_set=identity, **how)

    def cost(run: RunDirectory | None, before: Results) -> Cost:
        kept = store or reader.described(set_path(before)).manifest.store
        wanted = training.trained_in(run) if run else recipe
        stream = like_stored(wanted, data, store=kept)
        speed = timing.measure(wanted, stream=stream, data=data)
        return timing.training_cost(wanted, speed=speed, data=data, run=run)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        wanted = training.trained_in(run)
        material = reader.material(set_path(before), wanted.training)
        return training.trained(wanted, material, kind=KIND, data=data, run=run)

    return Step(KIND, place, work, cost, needs=(made,) if made else ())


def run(
    recipe: base.StudentRecipe,
    *,
    data: ImageData,
    workdir: str | Path,
    distillation_set_path: str | Path,
    older: base.StudentRecipe | None = None,
    only_plan: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Trains the student, or finishes or finds the run that did.

    One epoch is one pass of the set, a directory or a URL, in the stored order; after
    the last pass the first comes again. With `older`, what an older rule made of the
    same request, goes on with or finds that one's run if there is none of the recipe's
    own. With `only_plan`, says what is left and stops. Options are passes, members,
    averaging and resident: see `SetReader`.

    Returns:
        The content of `results.json`; `planned_seconds` and `process_seconds` are of
        the process that finished the run, "plan" is the list of its steps.
    """
    how = {"data": data, "workdir": workdir, "given": distillation_set_path}
    story = [step(recipe, older=older, **how, **options)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[KIND]


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
        how = {"batch_size": batch_size, "passes": passes, "keep": keep}
        strategy = getattr(engines.current(), "strategy", lambda: None)()
        held = resident_passes.stream(stored, **how, strategy=strategy)
        if held.complete is None:
            return replace(held, batches=lambda e: map(shown, held.batches(e)))
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
        check=stored.check_unchanged,
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
