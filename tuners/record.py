"""What a search has found so far, read from its trials' folders and written for others.

Any process that ends a trial may write these files: they are a function of the folders.
"""

import contextlib
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from kerasdistill.errors import StaleArtifactError
from kerasdistill.files import write_atomic, write_json_atomic
from kerasdistill.runs import read_json
from tuners.durable import TRIAL_NAME
from tuners.oracles import OBJECTIVE
from tuners.search import TRIALS
from tuners.space import Space

RESULTS = "results.json"  # of a trial; written last, so it is finished with it
TABLE, JSON = "trials.csv", "trials.json"
_COLUMNS = (
    *("number", "trial_id", "status", "val_accuracy", "best_epoch", "epochs"),
    *("num_params", "seconds", "pruned", "error"),
)


def trials(folder: str | Path) -> list[dict[str, Any]]:
    """The finished trials of a search's folder, in the order they began.

    Each has `trial_id`, `number` (from 1), `folder` and what its results hold; a trial
    that was given up, since workers died at it, has the reason as its `error`.

    Raises:
        StaleArtifactError: a trial's results are damaged.
    """
    finished = []
    for place in Path(folder, TRIALS).glob("trial_*"):
        trial_id = place.name.removeprefix("trial_")
        if not trial_id.isdecimal():
            continue  # a copy that somebody made
        if results := _results(place) or _given_up(place):
            numbers = {"trial_id": trial_id, "number": int(trial_id) + 1}
            finished.append({**results, **numbers, "folder": place})
    return sorted(finished, key=lambda trial: trial["number"])


def ended_at(trial: Mapping[str, Any]) -> int:
    """When the trial's last word was written, ns; one of those from `trials`."""
    results = trial["folder"] / RESULTS
    path = results if results.exists() else trial["folder"] / TRIAL_NAME
    return path.stat().st_mtime_ns


def _results(place: Path) -> dict[str, Any] | None:
    path = place / RESULTS
    if not path.exists():
        return None
    results = read_json(path)
    if not isinstance(results, dict) or "status" not in results:
        raise StaleArtifactError(
            f"{path} is no trial's results; remove {path} and run again"
        )
    return results


def _given_up(place: Path) -> dict[str, Any] | None:
    """What the oracle's file says of a trial whose workers died before its results.

    `Durable.reload` reports a damaged file.
    """
    path = place / TRIAL_NAME
    try:
        state = read_json(path) if path.exists() else {}
        if state["status"] != "FAILED":
            return None
        values = state["hyperparameters"]["values"]
        return {"status": "FAILED", "values": values, "error": state["message"]}
    except (KeyError, TypeError, StaleArtifactError):
        return None


def ranked(finished: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trials with a score, best first; ties go to the earlier one."""
    scored = [trial for trial in finished if trial["status"] == "COMPLETED"]
    return sorted(scored, key=lambda trial: (-trial[OBJECTIVE], trial["number"]))


def write(
    folder: str | Path,
    *,
    space: Space,
    oracle: str,
    seed: int,
    max_trials: int,
    length_scales: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Writes `trials.json` and `trials.csv` anew and returns the search's trials.

    `length_scales` are those of each free dimension, as the oracle has estimated them.
    """
    finished = trials(folder)
    names = [d.name for d in space.dimensions]
    rows = [{name: trial.get(name) for name in _COLUMNS} for trial in finished]
    settings = {
        "objective": OBJECTIVE,
        "max_trials": max_trials,
        "oracle": oracle,
        "seed": seed,
        "space": space.to_json(),
        "length_scales": dict(length_scales) if length_scales else None,
    }
    values = [space.values(trial["values"]) for trial in finished]
    listed = [{**row, "values": point} for row, point in zip(rows, values, strict=True)]
    write_json_atomic(Path(folder, JSON), {**settings, "trials": listed})
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=[*_COLUMNS, *names])
    writer.writeheader()
    for row, point in zip(rows, values, strict=True):
        writer.writerow({**row, **point})
    write_atomic(Path(folder, TABLE), table.getvalue())
    return finished


def show_on_board(
    directory: Path, results: Mapping[str, Any], *, trial_id: str
) -> None:
    """A row on TensorBoard's page HParams: the trial's values and its validation
    accuracy, beside the curves in `directory`.

    The space is not declared: TensorBoard shows one declared space for all searches,
    but without any it shows every dimension and every curve's last value.
    """
    if any(directory.glob("*.tfevents.*")):
        return
    writer = tf.summary.create_file_writer(str(directory))
    with contextlib.closing(writer), writer.as_default():
        hparams.hparams(dict(results["values"]), trial_id=trial_id)
        if results["status"] == "COMPLETED":
            tf.summary.scalar(OBJECTIVE, results[OBJECTIVE], step=results["epochs"])
