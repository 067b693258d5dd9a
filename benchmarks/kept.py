"""Results of finished runs, kept without paths in benchmarks/results.

NAME-s1 and so on are further seeds of NAME.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill.files import write_json_atomic
from kerasdistill.runs import read_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# Paths say nothing on another machine.
LEFT_OUT = (
    "model",
    "saved_model",
    "results",
    "chain",
    "best_recipe",
    "trials_table",
    "teachers",
    "picture",
    "path",
    "search",
    "history",
    "readable_name",
)


def keep(name: str, run: Path) -> None:
    """Copies what a finished run found, without paths, to benchmarks/results."""
    results = read_json(run / "results.json")
    found = without_paths(results)
    if stored := found.get("distillation_set"):  # a report tells its passes
        found["distillation_set"] = {k: v for k, v in stored.items() if k != "path"}
    environment = read_json(run / "environment.json")
    found["environment"] = {**environment, "command": None}
    if (run / "trials.json").exists():  # of a search
        found["curve"] = [
            trial["val_accuracy"] for trial in read_json(run / "trials.json")["trials"]
        ]
    write_json_atomic(RESULTS / f"{name}.json", found)


def without_paths(value: Any) -> Any:
    """Nested JSON values without the fields in LEFT_OUT and lists of paths."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in LEFT_OUT and not _paths(v)}
        return {k: without_paths(v) for k, v in kept.items()}
    return [without_paths(each) for each in value] if isinstance(value, list) else value


def _paths(value: Any) -> bool:
    """Whether it is a list of paths, such as an ensemble's members."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, str) and "/" in each for each in value)


def kept(name: str) -> dict[str, Any] | None:
    """What `keep` wrote under this name."""
    path = RESULTS / f"{name}.json"
    return read_json(path) if path.exists() else None


def seeds(name: str) -> list[dict[str, Any]]:
    """The same of all seeds."""
    first = kept(name)
    others = sorted(RESULTS.glob(f"{name}-s[0-9].json"))
    return [first, *map(read_json, others)] if first else []


def spread(values: Sequence[float]) -> str:
    """Percentages' mean, ± their deviation over seeds."""
    mean = f"{100 * statistics.mean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values):.2f} ({len(values)})"


def hours(found: Sequence[dict[str, Any]]) -> str:
    """A cell: what a training took, the mean over seeds."""
    return f"{statistics.mean(each['seconds'] for each in found) / 3600:.2f}"
