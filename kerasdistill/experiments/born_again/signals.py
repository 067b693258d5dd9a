"""How a generation's answers reach the next one: live, or stored beforehand."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from kerasdistill import evaluation
from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.experiments import precompute
from kerasdistill.experiments.student import SetReader, without_label
from kerasdistill.models import loading
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.fast_layers import use_fast_layers
from kerasdistill.recipes import base
from kerasdistill.running import training
from kerasdistill.running.steps import kept
from kerasdistill.running.training import Material
from kerasdistill.seeds import derive_seed
from kerasdistill.training import engines
from kerasdistill.training.epochs import EpochStream
from pipelines import checking
from pipelines.datasets import ImageData

KIND = "generation"  # of the run


@dataclass(frozen=True)
class Teacher:
    """Who a generation learns from: its file, the model in it, its weights' digest.

    `forced`: it was accepted without a card, whatever it says of the labels.
    """

    path: str
    model: keras.Model
    digest: str
    forced: bool = False


@dataclass(frozen=True)
class Signal:
    """How the teacher's answers reach its student.

    "live" asks it in every step; "stored" beforehand, by Beam, for `passes` augmented
    sweeps (None: one for each epoch) that are kept as `store`. Both show the student
    the same views in the same order as long as passes last. `resident` is that of
    `memory.choose`.
    """

    kind: str = "live"
    passes: int | None = None
    store: str = "replay"
    resident: str = "auto"

    def request(self, recipe: base.BornAgainRecipe) -> dict[str, Any]:
        """What of it is part of a generation's identity."""
        if self.kind == "live":
            return {"signal": self.kind}
        return {"signal": self.kind, "passes": self.passes_of(recipe)}

    def passes_of(self, recipe: base.BornAgainRecipe) -> int:
        """How many passes are stored."""
        return self.passes or recipe.training.epochs

    def of_set(self, recipe: base.BornAgainRecipe) -> precompute.Signal:
        """What the Beam job stores: the views that live training would make."""
        seed = derive_seed(recipe.training.seed, f"{KIND} views")
        how = {"store": self.store, "augmentation": recipe.augmentation}
        return precompute.Signal(seed=seed, **how)


def load_teacher(
    path: str | Path, *, data: ImageData, force: bool = False, tell: bool = False
) -> Teacher:
    """A teacher for these data, in the process's strategy; see `check_teacher`.

    Raises:
        UserError: no safe `.keras` file, or one of other images, classes or split.
    """
    model = _loaded(path)
    checking.check_teacher(model, path, data=data, force=force, tell=tell)
    return Teacher(str(path), model, weights_digest(model), force)


def _loaded(path: str | Path) -> keras.Model:
    with engines.current().scope():
        return use_fast_layers(loading.load(path))


def teacher_of(results: dict[str, Any], *, name: str, data: ImageData) -> Teacher:
    """A finished generation as the next one's teacher.

    Raises:
        StaleArtifactError: its model is gone, or is another one than in its results.
    """
    path = Path(results["model"])
    again = f"remove {path.parent} and run again"
    if not path.is_file():
        raise StaleArtifactError(f"{name} is missing: there is no {path}; {again}")
    try:
        teacher = load_teacher(path, data=data)
    except UserError as error:
        raise StaleArtifactError(f"{name} cannot teach: {error}; {again}") from error
    if teacher.digest != results["weights_digest"]:
        raise StaleArtifactError(
            f"{name} has changed: the weights in {path} are {teacher.digest[:12]}, its "
            f"results tell of {results['weights_digest'][:12]}; {again}"
        )
    return teacher


class Teachers:
    """Finished generations as teachers, checked when loaded; the last is kept."""

    def __init__(self, data: ImageData):
        self._data = data
        self._last: Teacher | None = None

    def of(self, name: str, results: dict[str, Any]) -> Teacher:
        """See `teacher_of`."""
        if self._last is None or self._last.path != results["model"]:
            self._last = teacher_of(results, name=name, data=self._data)
        return self._last

    def like(self, name: str, results: dict[str, Any]) -> Teacher:
        """One that only time is measured with: an untrained one may stand in."""
        if "weights_digest" in results:
            return self.of(name, results)
        return Teacher(results["model"], _loaded(results["model"]), digest="")


def live_stream(recipe: base.BornAgainRecipe, *, data: ImageData) -> EpochStream:
    """Views made on the fly, with labels where there are any."""
    stream = training.labelled_stream(recipe, kind=KIND, data=data)
    if data.labelled:
        return stream
    return replace(
        stream, batches=lambda epoch: stream.batches(epoch).map(without_label)
    )


def live(recipe: base.BornAgainRecipe, teacher: Teacher, data: ImageData) -> Material:
    """The teacher is asked in every step, unless the loss is of labels alone."""
    taught = recipe.training.objective.learns_from_teacher
    return Material(
        stream=lambda recipe: live_stream(recipe, data=data),
        ask=teacher.model,
        teacher_logits=evaluation.predict(teacher.model, data.validation.images),
        facts={"teacher_signal": "live" if taught else None},
    )


def stored(
    recipe: base.BornAgainRecipe,
    signal: Signal,
    made: dict[str, Any],
    *,
    name: str,
    data: ImageData,
    workdir: str | Path,
) -> Material:
    """Opens the distillation set that the step `name`, with results `made`, made."""
    how = {"passes": signal.passes_of(recipe), "resident": signal.resident}
    reader = SetReader(data, workdir, recipe.augmentation, **how)
    material = reader.material(made["distillation_set"], recipe.training)
    origin = material.facts["distillation_set"]
    same = ("path", "content_digest", "passes")
    facts = {
        "teacher_signal": "stored",
        "distillation_set": {name: origin[name] for name in same},
        "precompute": kept(name, made),
    }
    return replace(material, facts=facts)
