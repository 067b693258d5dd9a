"""Language models born again: each generation learns from the one before (B8)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.experiments.language import model, saved
from kerasdistill.experiments.language import signal as stored_signal
from kerasdistill.experiments.language.saved import Models
from kerasdistill.exports import cards
from kerasdistill.objectives import BanWithLabels, Objective
from kerasdistill.recipes import base, reading
from kerasdistill.running import steps
from kerasdistill.running.steps import Results, Step
from kerasdistill.runs import RunDirectory
from kerasdistill.seeds import derive_seed
from kerasdistill.training.perplexity import Scorer, perplexity
from pipelines.words.text import TextData
from pipelines.words.text_signal import Signal


@dataclass(frozen=True)
class Lineage:
    """A teacher and the generations after it.

    Attributes:
        recipe: generation 0's, or with `teachers` its architecture and schedule.
        generations: number of students, one after the other.
        objective: the students'. With weights 1 and 1, gradients are of twice the size
            that a rate was chosen for.
        teachers: paths, instead of training generation 0; several are averaged.
        stored: whether students read a stored signal instead of asking live.
        top_k: words kept a step of it.
        signal_path: a finished signal for the first student.
    """

    recipe: base.LanguageModelRecipe
    generations: int = 1
    objective: Objective = BanWithLabels()
    teachers: tuple[str, ...] = ()
    stored: bool = False
    top_k: int = stored_signal.TOP_K
    signal_path: str | None = None


def run(
    lineage: Lineage, *, data: TextData, workdir: str | Path, only_plan: bool = False
) -> dict[str, Any]:
    """Trains what is missing of the generations, then scores ensembles of them.

    Returns:
        The last generation's results, with "generations", a list of {generation,
        model, num_params, val_perplexity, test_perplexity}, generation 0 first, and
        "ensembles", a list of {members, val_perplexity, test_perplexity}: BAN-1 to
        BAN-k for every k from 2, and all generations with the teacher.
    """
    whole = story(lineage, data=data, workdir=workdir)
    results = steps.run(whole, workdir=workdir, only_plan=only_plan).results
    numbers, groups = range(lineage.generations + 1), _ensembles(lineage)
    listed = [_entry(results[_name(number)], generation=number) for number in numbers]
    if paths := list(lineage.teachers):
        counts = [cards.read_card(path)["num_params"] for path in paths]
        listed[0]["model"] = paths[0] if len(paths) == 1 else paths
        listed[0]["num_params"] = sum(counts)
    ensembles = [_entry(results[_mean(group)], members=group) for group in groups]
    last = results[_name(lineage.generations)]
    return {**last, "generations": listed, "ensembles": ensembles}


def story(
    lineage: Lineage, *, data: TextData, workdir: str | Path, prefix: str = ""
) -> list[Step]:
    """The steps of all generations, then those that score ensembles of them; their
    names begin with `prefix`.

    Raises:
        UserError: a given teacher or signal does not fit.
    """
    how = {"data": data, "workdir": workdir}
    window = lineage.recipe.training.window
    given = tuple(
        {**saved.load(path, data=data)[1], "model": path} for path in lineage.teachers
    )
    teachers, signal, listed = Models(given), None, []
    if lineage.signal_path:
        signal = _checked(lineage, teachers, data)
    if given:  # what they are worth on this text
        listed = [scoring(teachers, name=prefix + _name(0), window=window, **how)]
    for number in range(1 if given else 0, lineage.generations + 1):
        recipe, name = _recipe(number, lineage), prefix + _name(number)
        shared, storing = {"teachers": teachers, **how}, None
        if lineage.stored and number and signal is None:
            storing = f"{prefix}{stored_signal.STEP} {number}"
            kept = {"name": storing, "top_k": lineage.top_k}
            listed.append(stored_signal.step(recipe, **shared, **kept))
        shared |= {"signal": signal, "signal_step": storing}
        shared |= {"number": number, "seed": lineage.recipe.training.seed}
        listed.append(model.step(recipe, **shared, name=name))
        teachers, signal = Models(trained=(name,)), None
    for members in _ensembles(lineage):
        trained = tuple(prefix + _name(n) for n in members if n or not given)
        models = Models(given if 0 in members else (), trained)
        name = prefix + _mean(members)
        listed.append(scoring(models, name=name, window=window, **how))
    return listed


def _recipe(number: int, lineage: Lineage) -> base.LanguageModelRecipe:
    """How generation `number` is trained: students with seeds of their own."""
    if number == 0:
        return lineage.recipe
    seed = derive_seed(lineage.recipe.training.seed, "generation", number)
    changes = {"objective": lineage.objective, "seed": seed}
    return replace(lineage.recipe, training=replace(lineage.recipe.training, **changes))


def scoring(
    models: Models, *, name: str, window: int, data: TextData, workdir: str | Path
) -> Step:
    """The step that scores the mean of the models' probabilities; minutes at most.

    Its results have `val_perplexity` and `test_perplexity`.
    """

    def place(before: Results) -> RunDirectory:
        digests = models.of(before, fact="weights_digest")
        request = {"members": digests, "dataset": data.identity()}
        return RunDirectory.open(workdir, "language-ensemble", request)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        scorer = Scorer(models.load(before, data=data))
        results = {"kind": "language-ensemble", "averaging": "mean-probabilities"}
        results |= {
            "dataset": data.identity(),
            "members": models.of(before, fact="model"),
        }
        for split, tokens in (("val", data.validation), ("test", data.test)):
            cut = model.for_scoring(tokens, data, window)
            results[f"{split}_perplexity"] = perplexity(scorer.nats(cut)[0])
        return results

    return Step(name, place, work, needs=models.trained)


def in_the_teachers_form(
    recipe: base.LanguageModelRecipe, path: str
) -> base.LanguageModelRecipe:
    """The recipe with the architecture of the teacher at `path`."""
    _, card = saved.load(path)
    return replace(recipe, architecture=reading.from_json(card["recipe"]).architecture)


def _checked(lineage: Lineage, teachers: Models, data: TextData) -> Signal:
    """The signal that was given: of this text, cut this way, and these teachers."""
    signal = stored_signal.read(lineage.signal_path, lineage.recipe, data=data)
    if signal.request.teachers != tuple(teachers.of({}, fact="weights_digest")):
        raise UserError(
            f"signal {lineage.signal_path} is of other teachers than `teachers` names; "
            "give the models it was made with, or make another"
        )
    return signal


def _name(number: int) -> str:
    return f"generation {number}" if number else "teacher"


def _mean(members: list[int]) -> str:
    return f"mean of generations {', '.join(map(str, members))}"


def _ensembles(lineage: Lineage) -> list[list[int]]:
    """The generations in each."""
    last = lineage.generations
    groups = [list(range(1, k + 1)) for k in range(2, last + 1)]
    if len(lineage.teachers) <= 1:
        groups.append(list(range(last + 1)))
    return groups


def _entry(results: dict[str, Any], **facts: Any) -> dict[str, Any]:
    fields = ("model", "num_params", "val_perplexity", "test_perplexity")
    return facts | {name: results[name] for name in fields if name in results}
