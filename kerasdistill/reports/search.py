"""What a search found, from its trials.json: numbers only, nothing is trained."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from kerasdistill.errors import UserError
from kerasdistill.reports.tables import THIRDS
from kerasdistill.runs import read_json

FILE = "trials.json"
_TOP = 5  # the paper's Figure 1 shows the mean, best and fifth best of so many


@dataclass(frozen=True)
class Dimension:
    """One dimension of a space; `fixed` is its value where it was not searched."""

    name: str
    kind: str  # float, int or choice
    low: float | None = None
    high: float | None = None
    scale: str = "linear"  # or log
    fixed: Any = None


@dataclass(frozen=True)
class Trial:
    """One point that was tried; `score` is None where it has none (yet)."""

    trial_id: str
    number: int
    status: str
    values: dict[str, Any]
    score: float | None  # the objective: validation accuracy, from 0 to 1
    rest: dict[str, Any]  # best_epoch, epochs, num_params, seconds


@dataclass(frozen=True)
class Search:
    """A search as its file tells it; trials in the order in which they began."""

    path: str
    objective: str
    max_trials: int
    oracle: str
    seed: int | None
    space: tuple[Dimension, ...]
    length_scales: dict[str, float] | None
    trials: tuple[Trial, ...]

    @property
    def scored(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def searched(self) -> list[Dimension]:
        return [each for each in self.space if each.fixed is None]

    @property
    def label(self) -> str:
        """For a legend: the oracle, its seed and the folder's name."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.oracle}{seed} ({Path(self.path).name})"


def load(path: str | Path) -> Search:
    """Reads a search's folder, or the file itself.

    Raises:
        UserError: there is no such file, or half of one, or it is something else.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.exists():
        raise UserError(f"{file} does not exist; give the folder of a search")
    content = read_json(file)
    try:
        objective = content["objective"]
        return Search(
            path=str(file.parent),
            objective=objective,
            max_trials=int(content["max_trials"]),
            oracle=content["oracle"],
            seed=content["seed"],
            space=tuple(_dimension(each) for each in content["space"]),
            length_scales=content["length_scales"],
            trials=tuple(
                sorted(
                    (_trial(each, objective) for each in content["trials"]),
                    key=lambda trial: trial.number,
                )
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{file} is not what a search writes ({type(error).__name__}: {error}); "
            "give the folder of a search"
        ) from error


def _dimension(content: dict[str, Any]) -> Dimension:
    names = {field.name for field in fields(Dimension)}
    return Dimension(**{key: content[key] for key in content.keys() & names})


def _trial(content: dict[str, Any], objective: str) -> Trial:
    score = content.get(objective)
    if content["status"] != "COMPLETED" or score is None or not math.isfinite(score):
        score = None
    rest = ("best_epoch", "epochs", "num_params", "seconds")
    return Trial(
        trial_id=str(content["trial_id"]),
        number=int(content["number"]),
        status=content["status"],
        values=dict(content["values"]),
        score=score,
        rest={key: content.get(key) for key in rest},
    )


def describe(search: Search) -> dict[str, Any]:
    """All that is reported, as JSON: summary, `top`, `best_so_far`, `dimensions`."""
    best = sorted(search.scored, key=lambda trial: -trial.score)[:_TOP]
    scores = [trial.score for trial in best]
    five = len(scores) == _TOP
    return {
        "path": search.path,
        "objective": search.objective,
        "oracle": search.oracle,
        "seed": search.seed,
        "max_trials": search.max_trials,
        "completed": len(search.scored),
        "failed": sum(map(_failed, search.trials)),
        "seconds": sum(trial.rest["seconds"] or 0.0 for trial in search.trials),
        "best": scores[0] if scores else None,
        "fifth_best": scores[-1] if five else None,
        "mean_of_five_best": float(np.mean(scores)) if five else None,
        "top": [
            {
                "trial_id": trial.trial_id,
                "number": trial.number,
                search.objective: trial.score,
                **trial.rest,
                "values": trial.values,
            }
            for trial in best
        ],
        "best_so_far": best_so_far(search),
        "dimensions": [_influence(search, each) for each in search.searched],
        "fixed": {e.name: e.fixed for e in search.space if e.fixed is not None},
        "length_scales": search.length_scales,
    }


def _failed(trial: Trial) -> bool:
    return trial.score is None and trial.status in ("FAILED", "INVALID", "COMPLETED")


def best_so_far(search: Search) -> list[dict[str, float]]:
    """After each trial that has ended, the best until then; nothing before the first.

    The order is that in which trials began, so that it doesn't depend on workers.
    """
    curve, best = [], None
    for trial in search.trials:
        if trial.score is None and not _failed(trial):
            continue  # it still runs
        if trial.score is not None:
            best = trial.score if best is None else max(best, trial.score)
        if best is not None:
            curve.append({"number": trial.number, "best": best})
    return curve


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's: Pearson's of the ranks, ties sharing theirs; None for no spread."""
    if len(x) < 3:
        return None
    ranks = np.stack([_ranks(x), _ranks(y)])
    if np.ptp(ranks, axis=1).min() == 0:
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """From 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _influence(search: Search, dimension: Dimension) -> dict[str, Any]:
    """How the objective goes with one dimension; groups are a choice's values, or
    thirds of the range on the dimension's own scale."""
    pairs = [
        (trial.values[dimension.name], trial.score)
        for trial in search.scored
        if trial.values.get(dimension.name) is not None
    ]
    if dimension.kind == "choice":
        correlation, group = None, str
        names = list(dict.fromkeys(str(value) for value, _ in pairs))
    else:
        correlation = rank_correlation(*zip(*pairs, strict=True)) if pairs else None
        group, names = _third_of(dimension), THIRDS
    best, _ = max(pairs, key=lambda pair: pair[1], default=(None, None))
    groups = {
        name: [score for value, score in pairs if group(value) == name]
        for name in names
    }
    return {
        "name": dimension.name,
        "kind": dimension.kind,
        "scale": dimension.scale,
        "low": dimension.low,
        "high": dimension.high,
        "rank_correlation": correlation,
        "best_value": best,
        "groups": {
            name: {"trials": len(scores), "median": float(np.median(scores))}
            for name, scores in groups.items()
            if scores
        },
    }


def _third_of(dimension: Dimension) -> Callable[[float], str]:
    across = math.log if dimension.scale == "log" else float
    low, high = across(dimension.low), across(dimension.high)

    def third(value: float) -> str:
        place = (across(value) - low) / (high - low) if high > low else 0.0
        return THIRDS[min(2, max(0, int(3 * place)))]

    return third
