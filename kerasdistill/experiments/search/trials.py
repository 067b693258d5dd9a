"""One trial of a search: a training in a folder of its own, scored on validation."""

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdistill import boards
from kerasdistill.errors import DivergedError
from kerasdistill.experiments.search.definition import Search
from kerasdistill.exports import cards
from kerasdistill.recipes import base, naming
from kerasdistill.running import training
from kerasdistill.runs import RunDirectory
from kerasdistill.training import engines
from kerasdistill.training.batches import is_dataset
from kerasdistill.training.epochs import EpochStream
from pipelines.datasets import ImageData
from tuners import halving, record
from tuners.oracles import OBJECTIVE
from tuners.space import Values

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Trainer:
    """What every trial of a search has in common.

    `stream` gives a recipe's training data. Of `data`, the test split is never looked
    at; `teacher_logits` are the teacher's on its validation images. `check` is called
    after every epoch and raises what is to end the trial.
    """

    search: Search
    stream: Callable[[Any], EpochStream]
    data: ImageData
    teacher_logits: np.ndarray | None = None
    check: Callable[[], None] = lambda: None


def run(trainer: Trainer, point: Values, folder: Path) -> float:
    """Trains a point's recipe, goes on with it, or finds its results.

    Leaves the best epoch's model with its card in `folder`, and results.json, written
    last; the checkpoints are removed then.

    Returns:
        The best epoch's validation accuracy.

    Raises:
        DivergedError: the loss was not finite, or memory ran out.
    """
    # What Keras keeps of its models would add up over a hundred trials.
    keras.utils.clear_session()
    recipe = trainer.search.recipe(point)
    board = _board(trainer.search, folder)
    with RunDirectory(folder, {"recipe": recipe}) as place:
        results = place.results()
        if results is None:
            values = {"values": trainer.search.space.values(point)}
            made = _trained(trainer, recipe, place, board)
            results = place.finish(values | made)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        record.show_on_board(board, results, trial_id=folder.name)
    if results["status"] == "FAILED":
        raise DivergedError(results["error"])
    return results[OBJECTIVE]


def _board(search: Search, folder: Path) -> Path:
    """A trial's folder for TensorBoard, in that of its search."""
    how = {"num_params": search.family.get("budget"), "seed": search.seed}
    recipe = base.to_json(search.middle)
    name = naming.name_of(f"{search.kind}-search-{search.oracle}", recipe, **how)
    return boards.claim(folder.parents[1], name) / folder.name.replace("_", "-")


def shortened(
    stream: EpochStream, *, views: int, batch_size: int, epochs: int
) -> EpochStream:
    """The same data, each epoch cut to its first views (a whole number of batches)."""
    steps = min(stream.steps_per_epoch, max(1, views // batch_size))

    def batches(first_epoch: int) -> Any:
        # Beyond the last epoch only those read who measure how fast it goes.
        numbers = range(first_epoch, max(epochs, first_epoch + 1))
        if not is_dataset(stream.batches(first_epoch)):
            cut = (islice(stream.batches(n), steps) for n in cycle(numbers))
            return chain.from_iterable(cut)
        parts = (stream.batches(number).take(steps) for number in numbers)
        return functools.reduce(lambda one, two: one.concatenate(two), parts).repeat()

    return replace(
        stream,
        steps_per_epoch=steps,
        examples_per_epoch=min(stream.examples_per_epoch, steps * batch_size),
        batches=batches,
    )


def _trained(
    trainer: Trainer, recipe: Any, place: RunDirectory, board: Path
) -> dict[str, Any]:
    # Without others to compare with, no trial is hopeless.
    others = _curves_before(place.path) if trainer.search.prune else []

    def enough(history: Sequence[Mapping[str, float]]) -> bool:
        trainer.check()
        return halving.hopeless(_curve(history), others)

    try:
        model, fitted = training.train(
            recipe,
            stream=trainer.stream(recipe),
            data=trainer.data,
            run=place,
            teacher_logits=trainer.teacher_logits,
            enough=enough,
            board=board,
        )
    except Exception as error:
        expected = isinstance(error, (DivergedError, MemoryError))
        if not expected and not engines.current().is_out_of_memory(error):
            raise
        return {"status": "FAILED", "error": " ".join(str(error).split())[:500]}
    # Single precision has rounded the fraction; scoring again gives it exactly.
    count = len(trainer.data.validation)
    accuracy = round(fitted.val_score * count) / count
    path = cards.save_model(
        model,
        place.path,
        kind=trainer.search.kind,
        class_names=trainer.data.class_names,
        dataset=trainer.data.identity(),
        recipe=base.to_json(recipe),
        val_accuracy=accuracy,
    )
    return {
        "status": "COMPLETED",
        OBJECTIVE: accuracy,
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "curve": _curve(fitted.history),
        "pruned": fitted.epochs != recipe.training.epochs and enough(fitted.history),
        "num_params": cards.read_card(path)["num_params"],
        "seconds": fitted.seconds,
        "images_per_second": fitted.images_per_second,
        "model": str(path),
    }


def _curve(history: Sequence[Mapping[str, float]]) -> list[float]:
    return [row[OBJECTIVE] for row in history]


def _curves_before(trial_folder: Path) -> list[list[float]]:
    trials = record.trials(trial_folder.parents[1])
    return [trial["curve"] for trial in trials if trial["status"] == "COMPLETED"]
