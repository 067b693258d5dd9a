"""Language models born again: each generation learns from the one before (B8)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments import language_model, language_signal, plans
from kerasdistill.experiments.language_teachers import Known, known
from kerasdistill.recipes import base, ptb
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from kerasdistill.training.perplexity import Scorer, perplexity
from pipelines.text import TextData
from pipelines.text_signal import Signal


@dataclass(frozen=True)
class Lineage:
    """What is asked for.

    Attributes:
        recipe: generation 0's, or with `teachers` its architecture and schedule.
        generations: students, one after the other.
        loss: of students, "ban+l" or "ban".
        weights: of labels and of the teacher in "ban+l". With 1 and 1, gradients are
            of twice the size that a rate was chosen for.
        teachers: paths, instead of training generation 0; several are averaged.
        stored: whether students read a stored signal instead of asking live.
        top_k: words kept a step of it.
        signal_path: a finished signal for the first student.
    """

    recipe: base.LanguageModelRecipe
    generations: int = 1
    loss: str = "ban+l"
    weights: tuple[float, float] = (1.0, 1.0)
    teachers: tuple[str, ...] = ()
    stored: bool = False
    top_k: int = language_signal.TOP_K
    signal_path: str | None = None


def run(lineage: Lineage, *, data: TextData, workdir: str | Path) -> dict[str, Any]:
    """Trains what is missing of the generations, then scores ensembles of them.

    Returns:
        The last generation's results, with "generations", a list of {generation,
        model, num_params, val_perplexity, test_perplexity}, generation 0 first, and
        "ensembles", a list of {members, val_perplexity, test_perplexity}: BAN-1 to
        BAN-k for every k from 2, and all generations with the teacher.
    """
    where = {"data": data, "workdir": workdir}
    if lineage.teachers:
        teachers = [known(path, data=data) for path in lineage.teachers]
    stored = None
    if lineage.signal_path:  # what does not fit is told before anything is done
        stored = _checked(lineage, teachers, data)
    if lineage.teachers:
        found = [_given(teachers, lineage, **where)]
    else:
        first = language_model.run(lineage.recipe, **where, name="teacher")
        found, teachers = [first], [known(first["model"], data=data)]
    for number in range(1, lineage.generations + 1):
        found.append(_student(number, lineage, teachers, stored, **where))
        stored = None  # it is of the first one's teachers
        teachers = [known(found[-1]["model"], data=data)]
    listed = [_entry(number, results) for number, results in enumerate(found)]
    return {
        **found[-1],
        "generations": listed,
        "ensembles": _ensembles(listed, lineage, **where),
    }


def plan(
    lineage: Lineage, *, data: TextData, workdir: str | Path, name: str
) -> list[plans.Step]:
    """What is left costs here: a step for each generation, without given teachers and
    with a live signal. Their names begin with `name`."""
    steps, teachers = [], []  # digests of those before it, once they are known
    recipe = lineage.recipe
    for number in range(lineage.generations + 1):
        before = recipe
        if number:
            recipe = student_recipe(number, lineage)
        run = None
        if number == 0 or teachers:
            run = language_model.run_directory(recipe, data, teachers, None, workdir)
            if (found := run.results()) is not None:
                teachers = [found["weights_digest"]]
                continue
        teachers = []
        asked = [language_model.untrained(before, data=data)] if number else []
        called = f"{name}, generation {number}"
        step = language_model.plan(
            recipe, data=data, run=run, teachers=asked, name=called
        )
        steps.append(step)
    return steps


def student_recipe(number: int, lineage: Lineage) -> base.LanguageModelRecipe:
    """How generation `number` is trained: a new seed, else as generation 0."""
    seed = derive_seed(lineage.recipe.training.seed, "generation", number)
    recipe = ptb.student_of(lineage.recipe, loss=lineage.loss, seed=seed)
    names = ("label_weight", "teacher_weight")
    weights = dict(zip(names, lineage.weights, strict=True))
    return replace(recipe, training=replace(recipe.training, **weights))


def _student(
    number: int,
    lineage: Lineage,
    teachers: Sequence[Known],
    stored: Signal | None,
    *,
    data: TextData,
    workdir: str | Path,
) -> dict[str, Any]:
    recipe, where = student_recipe(number, lineage), {"data": data, "workdir": workdir}
    if stored is None and lineage.stored:
        top_k = lineage.top_k
        stored = language_signal.prepare(teachers, recipe, **where, top_k=top_k)
    return language_model.run(
        recipe, **where, teachers=teachers, stored=stored, name=f"generation {number}"
    )


def _checked(lineage: Lineage, teachers: Sequence[Known], data: TextData) -> Signal:
    """The signal that was given: of this text, cut this way, and these teachers."""
    signal = language_signal.given(lineage.signal_path, lineage.recipe, data=data)
    digests = tuple(each.digest for each in teachers)
    if signal.request.teachers != digests:
        raise UserError(
            f"signal {lineage.signal_path} is of other teachers than --teacher names; "
            "give the models it was made with, or make another"
        )
    return signal


def _given(
    teachers: Sequence[Known], lineage: Lineage, *, data: TextData, workdir
) -> dict[str, Any]:
    """Generation 0 where it was not trained here: what it is worth on this text."""
    paths = [each.path for each in teachers]
    return {
        "model": paths[0] if len(paths) == 1 else paths,
        "num_params": sum(each.card["num_params"] for each in teachers),
        **scored(teachers, lineage, data=data, workdir=workdir),
    }


def _entry(number: int, results: dict[str, Any]) -> dict[str, Any]:
    fields = ("model", "num_params", "val_perplexity", "test_perplexity")
    return {"generation": number, **{name: results[name] for name in fields}}


def _ensembles(
    listed: Sequence[dict[str, Any]], lineage: Lineage, *, data: TextData, workdir
) -> list[dict[str, Any]]:
    last = len(listed) - 1
    groups = [range(1, k + 1) for k in range(2, last + 1)]
    if isinstance(listed[0]["model"], str):
        groups.append(range(last + 1))
    ensembles = []
    for members in groups:
        models = [known(listed[i]["model"], data=data) for i in members]
        scores = scored(models, lineage, data=data, workdir=workdir)
        ensembles.append({"members": list(members), **scores})
    return ensembles


def scored(
    models: Sequence[Known], lineage: Lineage, *, data: TextData, workdir: str | Path
) -> dict[str, float]:
    """Perplexities of the mean of the models' probabilities; found again later."""
    digests = [each.digest for each in models]
    request = {"members": digests, "dataset": data.identity()}
    with RunDirectory.open(workdir, "language-ensemble", request) as folder:
        if (found := folder.results()) is None:
            scorer = Scorer([each.model for each in models])
            window = lineage.recipe.training.window
            found = {"kind": "language-ensemble", "averaging": "mean-probabilities"}
            for name, tokens in (("val", data.validation), ("test", data.test)):
                cut = language_model.for_scoring(tokens, data, window)
                found[f"{name}_perplexity"] = perplexity(scorer.nats(cut)[0])
            found = folder.finish(found)
        return {name: found[name] for name in ("val_perplexity", "test_perplexity")}


def in_the_teachers_form(
    recipe: base.LanguageModelRecipe, path: str
) -> base.LanguageModelRecipe:
    """The recipe with the architecture of the teacher at `path`."""
    return replace(recipe, architecture=known(path).recipe.architecture)
