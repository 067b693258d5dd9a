"""What a search ends with: its best trial, published; its recipe, trained again."""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

from kerasdistill.experiments.search.definition import Search
from kerasdistill.files import write_sealed_json
from kerasdistill.models import loading
from kerasdistill.recipes import base
from kerasdistill.running import training
from kerasdistill.runs import RunDirectory
from kerasdistill.training.epochs import FitResult
from pipelines.datasets import ImageData
from tuners import record
from tuners.oracles import OBJECTIVE

BEST = 5  # Figure 1 shows the mean of a search's five best, and the fifth
BEST_RECIPE = "best_recipe.json"


def published(
    search: Search, folder: RunDirectory, *, data: ImageData, logits: Any
) -> dict[str, Any]:
    """Scores the best trial's model, on test too, and writes it as a run's."""
    trials = record.trials(folder.path)
    ranked = record.ranked(trials)
    best, scores = ranked[0], [trial[OBJECTIVE] for trial in ranked[:BEST]]
    recipe = search.recipe(best["values"])
    write_sealed_json(folder.path / BEST_RECIPE, base.to_json(recipe))
    fitted = FitResult(
        epochs=best["epochs"],
        best_epoch=best["best_epoch"],
        val_score=best[OBJECTIVE],
        seconds=sum(trial.get("seconds", 0.0) for trial in trials),
        images_per_second=best["images_per_second"],
        history=tuple(
            {"epoch": number, OBJECTIVE: score}
            for number, score in enumerate(best["curve"], start=1)
        ),
    )
    model = loading.load(best["folder"] / "model.keras")
    how = {"kind": search.kind, "data": data, "run": folder, "teacher_logits": logits}
    same = ("oracle", "max_trials", "objective_views", "objective_images")
    return {
        **training.publish(model, fitted, recipe, **how),
        "best_recipe": str(folder.path / BEST_RECIPE),
        "trials_table": str(folder.path / record.JSON),
        **{name: getattr(search, name) for name in same},
        "trials": len(trials),
        "failed_trials": len(trials) - len(ranked),
        "best_trial": best["number"],
        "best": scores[0],
        "fifth_best": scores[BEST - 1] if len(scores) == BEST else None,
        "mean_of_five_best": statistics.mean(scores) if len(scores) == BEST else None,
    }


def again(
    search: Search, recipe: Any, retrain: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """The recipe from other seeds than the one the search chose it with."""
    seeds = [recipe.training.seed + number for number in range(1, search.seeds + 1)]
    settings = [dataclasses.replace(recipe.training, seed=seed) for seed in seeds]
    runs = [retrain(dataclasses.replace(recipe, training=each)) for each in settings]
    results: dict[str, Any] = {"seeds": seeds}
    results["results"] = [each["results"] for each in runs]
    for name in ("val_accuracy", "test_accuracy"):
        scores = [each[name] for each in runs]
        spread = statistics.stdev(scores) if len(scores) > 1 else None
        results[name] = {"mean": statistics.mean(scores), "sd": spread, "each": scores}
    return results
