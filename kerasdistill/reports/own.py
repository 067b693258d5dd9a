"""The user's own runs: what each is worth, and beside what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.recipes.describing import describe_json
from kerasdistill.recipes.older import training_of
from kerasdistill.reports import names
from kerasdistill.reports.collect import Found
from kerasdistill.reports.generations import parts
from kerasdistill.reports.tables import finite

SCORES = ("val_accuracy", "test_accuracy", "val_perplexity", "test_perplexity")
_ALIKE = 0.02  # of weights: both are within 1 % of one budget
_SET, _STORY = "precompute", "born-again"
_BAD = (KeyError, TypeError, ValueError, AttributeError)  # of what no run writes


@dataclass(frozen=True, eq=False)
class _Named:
    run: Found
    name: str

    @property
    def folder(self) -> str:
        """The name of the run's folder, which paths to its model have."""
        return Path(self.run.path).parent.name


def rows(runs: Sequence[Found]) -> list[dict[str, Any]]:
    """A row for every model and distillation set of the runs, best first in each
    data set; what is damaged is left out.

    Returns:
        For each "readable_name", "kind", "network", "dataset", "val_accuracy",
        "test_accuracy", "val_perplexity" and "test_perplexity" (None where it has
        none), "num_params", "bytes" of the model's file or the set, "epochs",
        "teacher_agreement", "history" (metrics by epoch), "members" (names of an
        ensemble's), "teacher" ("readable_name" and, as far as known, the scores and
        "num_params" of those it learned from), "baseline" (the same network that
        learned labels alone: "readable_name" and scores) and "path" of results.json.
    """
    models = list(_models(runs))
    fixed = [isinstance(run.results.get("readable_name"), str) for run in models]
    words = [names.readable(run.results["kind"], run.results) for run in models]
    called = names.distinct(words, fixed=fixed)
    named = [_Named(run, name) for run, name in zip(models, called, strict=True)]
    index = _Index(named)
    made = []
    for each in named:
        try:
            made.append(_row(each, index))
        except _BAD:
            continue  # the papers' tables name it among the problems
    return sorted(made, key=_order)


def _order(row: Mapping[str, Any]) -> tuple:
    score = row["val_accuracy"]
    if score is None and row["val_perplexity"] is not None:
        score = -row["val_perplexity"]
    return (row["dataset"] or "~", score is None, -(score or 0), row["readable_name"])


def _models(runs: Sequence[Found]) -> Iterator[Found]:
    """Runs with a score, sets, and what only a born-again run's results tell of."""
    present = {Path(run.path).parent.name for run in runs}
    present |= {run.results.get("weights_digest") for run in runs}
    for run in runs:
        kind = run.results["kind"]
        if kind == _STORY:
            yield from _elsewhere(run, present)
        elif kind == _SET or any(name in run.results for name in SCORES):
            yield run


def _elsewhere(run: Found, present: set[str | None]) -> Iterator[Found]:
    """A born-again run's models that are not among those `present`, by folder or
    weights; they are from then on."""
    try:
        told = parts(run, {})
    except _BAD:
        return
    for part in told:
        results = part.results
        own = {Path(results.get("results", "")).parent.name}
        own |= {results.get("weights_digest")} - {None}
        if own & present:
            continue
        present |= own - {""}
        which = results.get("ensemble") or f"generation-{results['generation']}"
        name = f"{names.readable(_STORY, run.results)}-{which}"
        rest = {key: each for key, each in results.items() if key != "readable_name"}
        yield Found(run.path, {**rest, "readable_name": name})


class _Index:
    """Runs by what others call them."""

    def __init__(self, named: Sequence[_Named]):
        self.by_folder = {each.folder: each for each in named}
        self.by_weights: dict[str, _Named] = {}
        self.on_labels: dict[str, list[_Named]] = {}
        for each in named:
            results = each.run.results
            if isinstance(digest := results.get("weights_digest"), str):
                self.by_weights.setdefault(digest, each)
            if (network := _network(results)) and network[1] == "hard-label":
                self.on_labels.setdefault(network[0], []).append(each)

    def model(self, path: Any, digest: Any = None) -> _Named | str | None:
        """The run that made a model, or the name of its file."""
        if isinstance(digest, str) and digest in self.by_weights:
            return self.by_weights[digest]
        if not isinstance(path, str):
            return None
        folder = Path(path).parent.name
        return self.by_folder.get(folder) or (
            f"{folder}/{Path(path).name}" if folder else Path(path).name
        )


def _network(results: Mapping[str, Any]) -> tuple[str, str] | None:
    """A network on a data set for so many epochs, and the loss it learned by.

    Students and their baselines are alike in depth alone: each has widths of its own
    that meet the budget.
    """
    recipe, data = results.get("recipe"), results.get("dataset")
    if not isinstance(recipe, Mapping) or not isinstance(data, Mapping):
        return None
    training = training_of(recipe)
    same = (data.get("name"), data.get("num_samples"), data.get("split_seed"))
    network = recipe.get("architecture")
    if recipe.get("kind") == "StudentRecipe":
        depths = [len(network.get(part) or ()) for part in ("filters", "hidden")]
        network = (network.get("kind"), *depths, network.get("kernel"))
    key = (network, same, training.get("epochs"))
    return repr(key), str(training.get("loss"))


def _row(each: _Named, index: _Index) -> dict[str, Any]:
    results = each.run.results
    data, kind = results.get("dataset"), results["kind"]
    return {
        "readable_name": each.name,
        "kind": kind,
        "network": describe_json(results.get("recipe")),
        "dataset": str(data["name"]) if isinstance(data, Mapping) else None,
        **{name: finite(results.get(name)) for name in SCORES},
        "num_params": _whole(results.get("num_params")),
        "bytes": _whole(results["bytes"]) if kind == _SET else _size(each.run),
        "epochs": results.get("epochs"),
        "teacher_agreement": finite(results.get("teacher_agreement")),
        "history": results.get("history") or [],
        "members": [_name(each) for each in _members(results, index)],
        "teacher": _teacher(results, index),
        "baseline": _baseline(each, index),
        "path": each.run.path,
    }


def _whole(value: Any) -> int | None:
    return None if finite(value) is None else int(value)


def _size(run: Found) -> int | None:
    """Of the model's file, which lies beside the results if anywhere."""
    try:
        return Path(run.path).with_name("model.keras").stat().st_size
    except OSError:
        return None


def _name(model: _Named | str) -> str:
    return model if isinstance(model, str) else model.name


def _members(results: Mapping[str, Any], index: _Index) -> list[_Named | str]:
    if not str(results["kind"]).endswith("ensemble"):
        return []
    models = (index.model(path) for path in results.get("members") or ())
    return [model for model in models if model is not None]


def _teachers(results: Mapping[str, Any], index: _Index) -> Iterator[_Named | str]:
    one = results.get("teacher")
    if isinstance(one, Mapping):
        yield index.model(one.get("model"), one.get("weights_digest")) or "?"
        return
    stored = results.get("distillation_set")
    stored = stored if isinstance(stored, Mapping) else {}
    maker = index.by_folder.get(Path(stored.get("path", "")).parent.name)
    paths = results.get("teachers") or (maker.run.results["teachers"] if maker else [])
    digests = stored.get("teachers") or []
    for number in range(max(len(paths), len(digests))):
        path = paths[number] if number < len(paths) else None
        digest = digests[number] if number < len(digests) else None
        yield index.model(path, digest) or "?"


def _teacher(results: Mapping[str, Any], index: _Index) -> dict[str, Any] | None:
    """Whom it learned from, and what that is worth."""
    models = list(dict.fromkeys(_teachers(results, index)))
    fields = (*SCORES, "num_params")
    known = _numbers({name: results.get(f"teacher_{name}") for name in fields})
    if len(models) == 1 and isinstance(models[0], _Named):
        own = models[0].run.results
        known = _numbers({name: own.get(name) for name in fields}) | known
    called = [_name(model) for model in models if model != "?"]
    if not called and not known:
        return None
    shown = ", ".join(called[:2])
    if len(called) > 2:
        shown += f" and {len(called) - 2} more"
    return {"readable_name": shown or None, "count": len(models) or None, **known}


def _numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    return {n: value for n, value in fields.items() if finite(value) is not None}


def _baseline(each: _Named, index: _Index) -> dict[str, Any] | None:
    """The twin on labels alone, as large within 2 %, of the same seed if there is
    one."""
    network = _network(each.run.results)
    if network is None or network[1] == "hard-label":
        return None
    count, seed = _count(each), _seed(each)
    twins = (
        twin
        for twin in index.on_labels.get(network[0], [])
        if abs(_count(twin) - count) <= _ALIKE * count
    )
    twin = min(twins, key=lambda twin: _seed(twin) != seed, default=None)
    if twin is None:
        return None
    scores = {name: finite(twin.run.results.get(name)) for name in SCORES}
    return {"readable_name": twin.name, **scores}


def _count(each: _Named) -> float:
    return finite(each.run.results.get("num_params")) or 0.0


def _seed(each: _Named) -> Any:
    return training_of(each.run.results["recipe"]).get("seed")
