"""A language model on labels, or born again from one (fact sheet B8)."""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdistill import cards, language_export
from kerasdistill.experiments import language_costs, plans
from kerasdistill.experiments.language_teachers import Known, known
from kerasdistill.models import language
from kerasdistill.recipes import base
from kerasdistill.runs import RunDirectory
from kerasdistill.training import language_models
from kerasdistill.training.epochs import EpochStream, FitResult
from kerasdistill.training.fit_text import fit_text
from kerasdistill.training.perplexity import Scorer, perplexity
from pipelines import text
from pipelines.text import TextData

KIND = "language-model"
_WINDOW = 35  # words scored at once; changes no value
_SAMPLE = 50  # words that an export is compared on


def run(
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    workdir: str | Path,
    teachers: Sequence[Known] = (),
    stored: Any = None,
    name: str = KIND,
) -> dict[str, Any]:
    """Trains one model, or finishes or finds the run that did.

    Args:
        recipe: architecture and training.
        data: the text.
        workdir: where the run folder goes.
        teachers: asked in every step, unless their answers are in `stored`.
        stored: a `pipelines.text_signal.Signal` of theirs.
        name: what the plan calls it.

    Returns:
        The content of `results.json`.
    """
    cut = _for_training(recipe, data)
    with run_directory(
        recipe, data, [each.digest for each in teachers], stored, workdir
    ) as folder:
        if (found := folder.results()) is not None:
            return found
        stream = text.stream(cut) if stored is None else stored.stream(cut)
        make = functools.partial(
            _shell,
            recipe,
            data=data,
            teachers=() if stored else [each.model for each in teachers],
        )
        step = _planned(name, make, recipe, data=data, stream=stream, run=folder)
        plans.announce(plans.Plan((step,)), workdir=folder.path)
        began = time.monotonic()
        shell = make()
        print(
            f"{folder.path}: {shell.student.name}, "
            f"{shell.student.count_params():,} weights",
            file=sys.stderr,
        )
        fitted = _fit(shell, recipe, stream=stream, data=data, run=folder)
        results = _publish(shell.student, fitted, recipe, data=data, run=folder)
        origin = {"teachers": [each.path for each in teachers]} if teachers else {}
        return folder.finish({**results, **origin, **plans.tell(step, since=began)})


def _for_training(recipe: base.LanguageModelRecipe, data: TextData) -> text.Windows:
    streams, length = recipe.training.batch_size, recipe.training.window
    return text.windows(data.train, end=data.end, streams=streams, length=length)


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
        model = known(path, data=data).model
    cut = for_scoring(data.split(split), data, _WINDOW)
    nats, count = Scorer([model]).nats(cut)
    return {"perplexity": perplexity(nats), "num_examples": count, "split": split}


def plan(
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    run: RunDirectory | None,
    teachers: Sequence[keras.Model] = (),
    name: str = KIND,
) -> plans.Step:
    """What a training costs here, or what is left of its run (None: all).

    `teachers` are asked in every step; as only time counts, they need not be trained.
    """
    make = functools.partial(_shell, recipe, data=data, teachers=teachers)
    stream = text.stream(_for_training(recipe, data))
    return _planned(name, make, recipe, data=data, stream=stream, run=run)


def untrained(recipe: base.LanguageModelRecipe, *, data: TextData) -> keras.Model:
    """The recipe's network, as it begins."""
    return language.build(
        recipe.architecture,
        words=data.words,
        seed=recipe.training.seed,
        precision=recipe.training.precision,
    )


def run_directory(
    recipe: base.LanguageModelRecipe,
    data: TextData,
    teachers: Sequence[str],
    stored: Any,
    workdir: str | Path,
) -> RunDirectory:
    """Where a training goes, or went; teachers are digests of their weights."""
    request = {"recipe": base.to_json(recipe), "dataset": data.identity()}
    if teachers:
        request["teachers"] = list(teachers)
        request["signal"] = "live" if stored is None else stored.digest
    return RunDirectory.open(workdir, KIND, request)


def _shell(
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    teachers: Sequence[keras.Model],
) -> language_models.LanguageModel:
    training = recipe.training
    student = untrained(recipe, data=data)
    kind, options = {
        "hard-label": (language_models.LanguageModel, {}),
        "ban": (language_models.BornAgainLanguageModel, {}),
        "ban+l": (
            language_models.BornAgainWithLabelsLanguageModel,
            {
                "label_weight": training.label_weight,
                "teacher_weight": training.teacher_weight,
            },
        ),
    }[training.loss]
    return kind(
        student,
        streams=training.batch_size,
        clip_norm=training.clip_norm,
        teachers=list(teachers),
        **options,
    )


def _planned(
    name: str,
    make: Callable[[], language_models.LanguageModel],
    recipe: base.LanguageModelRecipe,
    *,
    data: TextData,
    stream: EpochStream,
    run: RunDirectory | None,
) -> plans.Step:
    window = recipe.training.window
    validation = for_scoring(data.validation, data, window)
    return language_costs.plan(
        name,
        make,
        recipe,
        stream=stream,
        validation=validation,
        num_scored=len(validation) + len(data.test) // window,
        run=run,
    )


def _fit(shell, recipe, *, stream, data: TextData, run: RunDirectory) -> FitResult:
    scorer = Scorer([shell.student])
    validation = for_scoring(data.validation, data, recipe.training.window)
    return fit_text(
        shell,
        train=stream,
        validate=lambda: scorer.nats(validation)[0],
        training=recipe.training,
        directory=run.path,
    )


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
    path = cards.save_language_model(
        student,
        run.path,
        words=data.words,
        dataset=data.identity(),
        recipe=base.to_json(recipe),
        val_perplexity=perplexity(val_nats),
    )
    card = cards.read_card(path)
    parity = language_export.export_language_model(
        student,
        run.path / "saved_model",
        words=data.words,
        end=data.end,
        unknown=data.words.index(text.UNKNOWN),
        card=card,
        sample=data.validation[:_SAMPLE],
    )
    return {
        "kind": KIND,
        "model": str(path),
        "saved_model": str(run.path / "saved_model"),
        "parity": parity,
        "num_params": card["num_params"],
        "weights_digest": card["weights_digest"],
        "recipe": base.to_json(recipe),
        "dataset": data.identity(),
        "val_perplexity": perplexity(val_nats),
        "test_perplexity": perplexity(test_nats),
        "test_tokens": test_tokens,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "seconds": fitted.seconds,
        "words_per_second": fitted.images_per_second,
        "results": str(run.path / "results.json"),
    }
