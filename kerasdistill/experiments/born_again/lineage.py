"""Which generations a born-again run is made of, and whether they still are."""

from pathlib import Path
from typing import Any

from kerasdistill import evaluation
from kerasdistill.errors import StaleArtifactError
from kerasdistill.experiments.born_again.signals import Teacher
from kerasdistill.files import sha256_file, write_json_atomic
from kerasdistill.models.summary import num_trainable
from kerasdistill.recipes import base, born_again, older, reading
from kerasdistill.runs import RunDirectory, read_json
from pipelines.datasets import ImageData

RECORD = "generations.json"  # in the run's folder, rewritten as generations end
UNNAMED = "a given model"  # a teacher's network that has no name here
SCORES = ("val_accuracy", "test_accuracy")
# Of a generation's results.
_FIELDS = (
    *("model", "num_params", *SCORES, "teacher_agreement", "weights_digest"),
    *("epochs", "best_epoch", "seconds", "images_per_second", "results"),
)


def row(number: int, results: dict[str, Any]) -> dict[str, Any]:
    """What a run says of a generation that it trained."""
    training = older.training_of(results["recipe"])
    row = {"generation": number, "loss": training["loss"], "seed": training["seed"]}
    return row | {name: results[name] for name in _FIELDS}


def given_row(given: Teacher, data: ImageData) -> dict[str, Any]:
    """Generation 0 where it was given; what is known of it is not scored again."""
    row = {
        "generation": 0,
        "loss": None,
        "seed": None,
        "model": given.path,
        "num_params": num_trainable(given.model),
        "weights_digest": given.digest,
    }
    results = _results_beside(given.path)
    expected = {"weights_digest": given.digest, "dataset": data.identity()}
    same = all(results.get(name) == value for name, value in expected.items())
    if same and set(SCORES) <= set(results):
        return row | {name: results[name] for name in SCORES}
    if not data.labelled:
        return row | dict.fromkeys(SCORES)
    for name, examples in zip(SCORES, (data.validation, data.test), strict=True):
        logits = evaluation.predict(given.model, examples.images)
        row[name] = evaluation.accuracy(logits, examples.labels)
    return row


def teacher_arch(row: dict[str, Any]) -> str:
    """The name of a given teacher's network, where a run of ours made it."""
    recipe = _results_beside(row["model"]).get("recipe", {})
    if recipe.get("kind") != base.BornAgainRecipe.__name__:
        return UNNAMED
    return born_again.name_of(reading.from_json(recipe).architecture) or UNNAMED


def _results_beside(model: str | Path) -> dict[str, Any]:
    """The results of the run that a model file lies in; nothing if there are none."""
    beside = Path(model).with_name("results.json")
    results = read_json(beside) if beside.is_file() else None
    return results if isinstance(results, dict) else {}


def record(folder: RunDirectory, rows: list[dict[str, Any]]) -> None:
    """Notes the generations so far, so that a change to one of them is noticed."""
    recorded = [
        {
            "generation": row["generation"],
            # A given teacher lies where its owner put it, ours beside this run.
            "run": Path(row["model"]).parent.name if row["loss"] else None,
            "sha256": sha256_file(row["model"]),
        }
        for row in rows
    ]
    write_json_atomic(folder.path / RECORD, recorded)


def require_intact(folder: RunDirectory, workdir: Path) -> None:
    """StaleArtifactError naming a recorded generation that is gone or another one."""
    file = folder.path / RECORD
    for row in read_json(file) if file.exists() else ():
        if row["run"] is None:  # the request names its digest
            continue
        path = workdir / row["run"] / "model.keras"
        if path.is_file() and sha256_file(path) == row["sha256"]:
            continue
        what = "has changed" if path.is_file() else "is missing"
        raise StaleArtifactError(
            f"generation {row['generation']} of {folder.path} {what} ({path}); put "
            f"it back, or remove {path.parent} and {folder.path} to train it again"
        )


def as_they_lie(results: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """Results whose paths follow a workdir that moved."""
    for row in (*results["generations"], *results["ensembles"]):
        if "results" in row:
            run = workdir / Path(row["model"]).parent.name
            row["model"] = str(run / "model.keras")
            row["results"] = str(run / "results.json")
    return results
