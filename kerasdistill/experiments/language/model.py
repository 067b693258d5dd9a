"""A language model on labels, or born again from one (docs/papers/born-again.md)."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdistill import boards
from kerasdistill.experiments.language import costs, saved
from kerasdistill.experiments.language import signal as stored_signal
from kerasdistill.experiments.language.saved import Models
from kerasdistill.exports import cards, model_card
from kerasdistill.exports import language as language_export
from kerasdistill.models import language
from kerasdistill.models.summary import num_trainable
from kerasdistill.recipes import base, naming
from kerasdistill.running import steps
from kerasdistill.running.steps import Cost, Results, Step
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from kerasdistill.training import language_models
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.fit_text import fit_text
from kerasdistill.training.perplexity import Scorer, perplexity
from pipelines.words import text
from pipelines.words.text import TextData
from pipelines.words.text_signal import Signal

KIND = "language-model"  # of the run, and the step's name in a plan
_WINDOW = 35  # words scored at once; changes no value
_SAMPLE = 50  # words that an export is compared on


def run(
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    workdir: str | Path,
    only_plan: bool = False,
) -> dict[str, Any]:
    """Trains a model on labels, or finishes or finds the run that did.

    Returns:
        The content of `results.json`.
    """
    story = [step(recipe, data=data, workdir=workdir)]
    return steps.run(story, workdir=workdir, only_plan=only_plan).results[KIND]


def step(
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    workdir: str | Path,
    name: str = KIND,
    teachers: Models | None = None,
    signal: Signal | None = None,
    signal_step: str | None = None,
    number: int = 0,
    seed: int | None = None,
) -> Step:
    """The step that trains one model.

    Its teachers are asked for every window, unless their signal is given or stored by
    the step `signal_step`. `number` and `seed` are, for its name, a generation's and
    its chain's.
    """
    teachers = teachers or Models()

    def stored(before: Results) -> Signal | stored_signal.MadeUp | None:
        if signal_step is None:
            return signal
        results = before[signal_step]
        if (made_up := results.get("made_up")) is not None:
            return made_up
        return stored_signal.read(results["distillation_set"], recipe, data=data)

    def place(before: Results) -> RunDirectory:
        request: dict[str, Any] = {"recipe": recipe, "dataset": data.identity()}
        if digests := teachers.of(before, fact="weights_digest"):
            kept = stored(before)
            request["teachers"] = digests
            request["signal"] = "live" if kept is None else kept.digest
        return RunDirectory.open(workdir, KIND, request)

    def begin(
        before: Results, kept: Signal | stored_signal.MadeUp | None
    ) -> tuple[language_models.LanguageModel, EpochStream]:
        cut = stored_signal.training_windows(recipe, data)
        models = () if kept is not None else teachers.load(before, data=data)
        return _shell(recipe, data=data, teachers=models), (kept or text).stream(cut)

    def cost(run: RunDirectory | None, before: Results) -> Cost:
        shell, stream = begin(before, stored(before))
        how = {"shell": shell, "stream": stream, "data": data, "run": run}
        return costs.training_cost(recipe, **how)

    def work(run: RunDirectory, before: Results) -> dict[str, Any]:
        kept = stored(before)
        shell, stream = begin(before, kept)
        with kept.reading() if kept is not None else contextlib.nullcontext():
            board = _board(shell, recipe, run=run, number=number, seed=seed)
            fitted = _fit(shell, recipe, stream=stream, data=data, run=run, board=board)
        results = _publish(shell.student, fitted, recipe, data=data, run=run)
        if signal_step is not None:
            path = before[signal_step]["distillation_set"]
            results["distillation_set"] = {"path": path}
        paths = teachers.of(before, fact="model")
        return {**results, "teachers": paths} if paths else results

    def stand_in(scratch: Path) -> dict[str, Any]:
        return _saved(_untrained(recipe, data=data), recipe, scratch / name, data=data)

    needs = teachers.trained + (() if signal_step is None else (signal_step,))
    return Step(name, place, work, cost, needs, stand_in)


def for_scoring(tokens, data: TextData, window: int) -> text.Windows:
    """All of a split in one stream."""
    return text.windows(tokens, end=data.end, streams=1, length=window)


def evaluate(path: str | Path, *, data: TextData, split: str) -> dict[str, Any]:
    """Perplexity of a `.keras` file or a SavedModel on a split.

    Raises:
        UserError: no language model, or one of another vocabulary.
    """
    if Path(path).is_dir():
        cards.check_files(path)
        card = cards.read_card(path)
        text.require_same_words(data.words, tuple(card["words"]), path=path)
        model = language_export.SavedLanguageModel(path)
    else:
        model, _ = saved.load(path, data=data)
    cut = for_scoring(data.split(split), data, _WINDOW)
    nats, count = Scorer([model]).nats(cut)
    return {"perplexity": perplexity(nats), "num_examples": count, "split": split}


def _shell(
    recipe: base.LanguageModelRecipe, *, data: TextData, teachers: Sequence[keras.Model]
) -> language_models.LanguageModel:
    training, network = recipe.training, _untrained(recipe, data=data)
    how = {"streams": training.batch_size, "clip_norm": training.clip_norm}
    how["teachers"] = teachers
    return language_models.LanguageModel(network, training.objective, **how)


def _untrained(recipe: base.LanguageModelRecipe, *, data: TextData) -> keras.Model:
    how = {"seed": recipe.training.seed, "precision": recipe.training.precision}
    return language.build(recipe.architecture, words=data.words, **how)


def _board(shell, recipe, *, run: RunDirectory, number: int, seed: int | None) -> Path:
    kind = f"{KIND}-generation-{number}" if number else KIND
    how = {"num_params": num_trainable(shell.student), "seed": seed}
    name = naming.name_of(kind, base.to_json(recipe), **how)
    return boards.claim(run.path, name)


def _fit(
    shell, recipe, *, stream, data: TextData, run: RunDirectory, board: Path
) -> FitResult:
    student = shell.student
    weights = f"{student.count_params():,} weights"
    say(f"{run.path}: {student.name}, {weights}")
    scorer = Scorer([student])
    validation = for_scoring(data.validation, data, recipe.training.window)
    how = {"train": stream, "validate": lambda: scorer.nats(validation)[0]}
    how |= {"directory": run.path, "board": board}
    return fit_text(shell, **how, training=recipe.training)


def _publish(
    student: keras.Model,
    fitted: FitResult,
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    run: RunDirectory,
) -> dict[str, Any]:
    """Scores validation and, for the only time, test; saves the model in two forms."""
    scorer, window = Scorer([student]), recipe.training.window
    val_nats, _ = scorer.nats(for_scoring(data.validation, data, window))
    test_nats, test_tokens = scorer.nats(for_scoring(data.test, data, window))
    score = perplexity(val_nats)
    facts = _saved(student, recipe, run.path, data=data, val_perplexity=score)
    card = cards.read_card(facts["model"])
    scores = {"val_perplexity": score, "test_perplexity": perplexity(test_nats)}
    parity = language_export.export_language_model(
        student,
        run.path / "saved_model",
        words=data.words,
        end=data.end,
        unknown=data.words.index(text.UNKNOWN),
        card=model_card.with_results(card, scores),
        sample=data.validation[:_SAMPLE],
        workdir=run.path.parent,
    )
    return {
        "kind": KIND,
        **facts,
        "saved_model": str(run.path / "saved_model"),
        "parity": parity,
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        **scores,
        "test_tokens": test_tokens,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "words_per_second": fitted.images_per_second,
        "history": fitted.curves,
        "results": str(run.path / "results.json"),
    }


def _saved(
    model: keras.Model,
    recipe: base.LanguageModelRecipe,
    folder: Path,
    *,
    data: TextData,
    **facts: Any,
) -> dict[str, Any]:
    """Writes the model and its card; gives what results say of it."""
    facts |= {"dataset": data.identity(), "recipe": base.to_json(recipe)}
    path = cards.save_language_model(model, folder, words=data.words, **facts)
    card, same = cards.read_card(path), ("num_params", "weights_digest")
    return {"model": str(path), **{name: card[name] for name in same}}
