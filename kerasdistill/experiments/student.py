"""A student on a distillation set (fact sheet A5)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill.experiments import training
from kerasdistill.experiments.opening import opened
from kerasdistill.models import student
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import EpochStream
from pipelines import distillation_set
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
        stream = stored_stream(
            stored, batch_size=recipe.training.batch_size, passes=passes
        )
        teacher_logits = stored.validation_logits()
        with stored.reading():
            model, fitted = training.train(
                student.build,
                recipe,
                stream=stream,
                data=data,
                run=folder,
                teacher_logits=teacher_logits,
            )
        results = training.publish(
            model,
            fitted,
            recipe,
            kind="student",
            data=data,
            run=folder,
            teacher_logits=teacher_logits,
            distillation_set={
                "path": str(distillation_set_path),
                "content_digest": stored.manifest.content_digest,
                "averaging": averaging,
                "members": members,
                **request["distillation_set"],
            },
        )
        return folder.finish(results)


def stored_stream(
    stored: distillation_set.DistillationSet, *, batch_size: int, passes: int
) -> EpochStream:
    """The set's first passes as training data: epoch e is pass e modulo `passes`."""

    def batches(first_epoch: int):
        first = first_epoch % passes
        begun = stored.dataset(batch_size, first_pass=first, passes=passes - first)
        every = begun.concatenate(stored.dataset(batch_size, passes=passes).repeat())
        return every if stored.labelled else every.map(_without_label)

    return EpochStream(
        steps_per_epoch=stored.steps_per_pass(batch_size),
        examples_per_epoch=stored.manifest.layout.num_samples,
        batches=batches,
    )


def _without_label(batch):
    return {name: value for name, value in batch.items() if name != "label"}
