"""What follows runs elsewhere: MLflow, Weights & Biases, or callbacks of one's own.

Within `tracking`, each run that is worked at is followed by a callback, which has such
of Keras' methods as it likes: `on_train_begin()`, `on_epoch_end(epoch, metrics)` and
`on_train_end(results)`, the last without results if the run was stopped. One that fails
is left out of the rest of its run: it never ends or changes a training.

Trackers are no part of a run's identity. The run's folder notes what each was given, so
a run that goes on is followed in the same place, without gaps.
"""

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from kerasdistill.errors import UserError, one_line, reason
from kerasdistill.files import write_json_atomic
from kerasdistill.recipes.describing import describe_json
from kerasdistill.runs import RunDirectory, read_json
from kerasdistill.terminal import say
from kerasdistill.training import tracker_callbacks
from kerasdistill.training.tracker_callbacks import Tracked

NOTES = "trackers.json"  # in a run's folder

Factory = Callable[[Tracked], Any]  # makes the callback of one run


class Tracker(NamedTuple):
    """What a tracker's name stands for.

    `ready` is called before anything is done; it raises UserError where something
    besides the package is missing.
    """

    package: str
    factory: Factory
    ready: Callable[[], None] = lambda: None


TRACKERS = {
    "mlflow": Tracker("mlflow", tracker_callbacks.MlflowCallback),
    "wandb": Tracker(
        "wandb", tracker_callbacks.WandbCallback, tracker_callbacks.wandb_ready
    ),
}


@contextlib.contextmanager
def tracking(tracker: str | Factory | None) -> Iterator[None]:
    """Within it, every run that is worked at is followed; finished ones are not.

    Args:
        tracker: a name in `TRACKERS`, or a function that makes a run's callback (None:
            nothing follows).

    Raises:
        UserError: another name, or its package or its key is missing.
    """
    name, factory = getattr(tracker, "__name__", type(tracker).__name__), tracker
    if isinstance(tracker, str):
        name, factory = tracker, _factory(tracker)
    before = _TRACKER.set(factory and (name, factory))
    try:
        yield
    finally:
        _TRACKER.reset(before)


def _factory(name: str) -> Factory:
    if name not in TRACKERS:
        raise UserError(f"tracker {name!r} is unknown; give {' or '.join(TRACKERS)}")
    tracker = TRACKERS[name]
    if importlib.util.find_spec(tracker.package) is None:
        raise UserError(
            f"tracker {name} needs the package {tracker.package}, which is not "
            "installed; pip install 'kerasdistill[trackers]'"
        )
    tracker.ready()
    return tracker.factory


@contextlib.contextmanager
def following(run: RunDirectory) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Follows a run that is held, until it is stopped or what this yields is called
    with its results."""
    chosen = _TRACKER.get()
    if chosen is None:
        yield lambda results: None
        return
    follower = _Follower(*chosen, run)
    before = _FOLLOWER.set(follower)
    try:
        yield follower.end
    finally:
        _FOLLOWER.reset(before)
        follower.end(None)


def progress(directory: str | Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Tells who follows the run in `directory` of its epochs so far, each once.

    Trainings inside another's folder, a search's trials, are not told of.
    """
    follower = _FOLLOWER.get()
    if follower is not None and follower.directory == Path(directory):
        follower.progress(history)


class _Follower:
    """One run's callback, held so that it does no harm."""

    def __init__(self, name: str, factory: Factory, run: RunDirectory):
        self.directory, self._name = run.path, name
        self._notes: dict[str, Any] = {}
        self._callback: Any = None
        self._over = False  # it has failed, or the run has ended
        self._try(lambda: self._begin(factory, run))

    def progress(self, history: Sequence[Mapping[str, Any]]) -> None:
        self._try(lambda: self._give(history))

    def end(self, results: Mapping[str, Any] | None) -> None:
        self._try(lambda: self._call("on_train_end", results))
        self._over = True

    def _begin(self, factory: Factory, run: RunDirectory) -> None:
        if (file := run.path / NOTES).exists():
            self._notes = read_json(file)
        own = self._notes.get(self._name, {"tracker_id": None, "epochs": 0})
        before = own["tracker_id"]
        tracked = Tracked(_title(run), run.path, parameters(run.request), before)
        self._callback = factory(tracked)
        now = getattr(self._callback, "tracker_id", None)
        # A run of the tracker's that is new is given every epoch.
        epochs = own["epochs"] if now == before else 0
        self._notes[self._name] = {"tracker_id": now, "epochs": epochs}
        self._call("on_train_begin")
        write_json_atomic(file, self._notes)

    def _give(self, history: Sequence[Mapping[str, Any]]) -> None:
        own = self._notes[self._name]
        for epoch, row in list(enumerate(history))[own["epochs"] :]:
            metrics = tracker_callbacks.numbers(row)
            metrics.pop("epoch", None)
            self._call("on_epoch_end", epoch, metrics)
            own["epochs"] = epoch + 1
            write_json_atomic(self.directory / NOTES, self._notes)

    def _call(self, method: str, *values: Any) -> None:
        if (act := getattr(self._callback, method, None)) is not None:
            act(*values)

    def _try(self, act: Callable[[], None]) -> None:
        if self._over:
            return
        try:
            act()
        except Exception as error:  # trackers raise what they like
            self._over = True
            why = one_line(reason(error))[:300]
            say(f"warning: {self._name} failed ({why}); the run goes on without it")


_TRACKER: ContextVar[tuple[str, Factory] | None] = ContextVar("tracker", default=None)
_FOLLOWER: ContextVar[_Follower | None] = ContextVar("follower", default=None)


def parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """A run's request, flat: "training.seed" of its recipe, "dataset.name" and so on.

    Lists are JSON texts.
    """
    recipe = request.get("recipe")
    rest = {name: value for name, value in request.items() if name != "recipe"}
    own = recipe if isinstance(recipe, dict) else {}
    return {**_flat(rest), **_flat(own)}


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            plain = value is None or isinstance(value, str | int | float)
            flat[f"{prefix}{name}"] = value if plain else json.dumps(value)
    return flat


def _title(run: RunDirectory) -> str:
    """Such as "student 65-65-65 s0"; the folder's name for a run without a recipe."""
    recipe = run.request.get("recipe")
    if (network := describe_json(recipe)) is None:
        return run.path.name
    kind, seed = (
        run.path.name.rpartition("-")[0],
        recipe.get("training", {}).get("seed"),
    )
    return f"{kind} {network}" + ("" if seed is None else f" s{seed}")
