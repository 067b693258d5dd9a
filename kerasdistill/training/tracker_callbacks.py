"""Runs of MLflow and of Weights & Biases, as callbacks with the methods of Keras'."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError

PROJECT = "kerasdistill"  # unless the tracker's own variables name another
_BEGIN_SECONDS, _END_SECONDS = 30, 60  # that a server which is away may take
_MLFLOW_PARAMS, _MLFLOW_LETTERS = 100, 500  # in one call, in one value


@dataclass(frozen=True)
class Tracked:
    """A run as its tracker sees it.

    Attributes:
        name: for people.
        directory: its folder.
        parameters: of its recipe ("training.seed"), its data ("dataset.name") and
            what else it was named by: numbers and texts.
        tracker_id: the `tracker_id` of the callback that followed it before; None if
            none has.
    """

    name: str
    directory: Path
    parameters: Mapping[str, Any]
    tracker_id: str | None = None


class MlflowCallback:
    """A run at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME.

    It is not the active one: that of a notebook stays what it is.
    """

    def __init__(self, tracked: Tracked):
        # A server that is away is asked twice, instead of for a quarter of an hour.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_BEGIN_SECONDS))
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self.tracker_id = tracked.tracker_id
        if self.tracker_id is not None and self._is_there():
            self._client.update_run(self.tracker_id, status="RUNNING")
        else:
            self.tracker_id = self._new(tracked)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """A point on each metric's curve, at step 1 for the first epoch."""
        self._log(logs, step=epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The results' numbers as metrics, where things lie as tags."""
        if logs is not None:
            self._log(final(logs), step=0)
            for name, path in places(logs).items():
                self._client.set_tag(self.tracker_id, name, path)
        status = "KILLED" if logs is None else "FINISHED"
        self._client.set_terminated(self.tracker_id, status=status)

    def _is_there(self) -> bool:
        """Whether the run is still there, at this MLFLOW_TRACKING_URI."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(self.tracker_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return run.info.lifecycle_stage == "active"

    def _new(self, tracked: Tracked) -> str:
        from mlflow.entities import Param

        tags = {"directory": str(tracked.directory.absolute())}
        how = {"run_name": tracked.name, "tags": tags}
        made = self._client.create_run(self._experiment(), **how).info.run_id
        values = tracked.parameters.items()
        every = [Param(name, str(value)[:_MLFLOW_LETTERS]) for name, value in values]
        for first in range(0, len(every), _MLFLOW_PARAMS):
            some = every[first : first + _MLFLOW_PARAMS]
            self._client.log_batch(made, params=some)
        return made

    def _experiment(self) -> str:
        if chosen := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return chosen
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        there = self._client.get_experiment_by_name(name)
        return there.experiment_id if there else self._client.create_experiment(name)

    def _log(self, values: Mapping[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        points = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.tracker_id, metrics=points)


class WandbCallback:
    """A run in the project WANDB_PROJECT; with WANDB_MODE=offline, on this disk."""

    def __init__(self, tracked: Tracked):
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=tracked.tracker_id,
            resume="allow",
            name=tracked.name,
            config={**tracked.parameters, "directory": str(tracked.directory)},
            allow_val_change=True,  # the folder may have moved
            reinit="create_new",  # a notebook's own run stays what it is
            settings=wandb.Settings(
                console="off",  # what is printed is ours
                silent=True,
                init_timeout=_BEGIN_SECONDS,
                finish_timeout=_END_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self.tracker_id = self._run.id
        self._run.define_metric("*", step_metric="epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """A point on each metric's curve, over "epoch", which is 1 at first."""
        self._run.log({**logs, "epoch": epoch + 1})

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The results' numbers and where things lie, in the summary."""
        if logs is not None:
            self._run.summary.update({**final(logs), **places(logs)})
        self._run.finish(exit_code=int(logs is None))


def wandb_ready() -> None:
    """UserError where Weights & Biases would ask for a key: nothing here prompts."""
    import wandb

    if wandb.setup().settings.mode not in ("online", "shared", "run"):
        return
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.Error:
        return  # the key is there, the server is away: no reason not to train
    if not known:
        raise UserError(
            "Weights & Biases has no key of yours; run `wandb login`, or set "
            "WANDB_MODE=offline"
        )


def numbers(fields: Mapping[str, Any]) -> dict[str, float]:
    """Those of the fields that are finite numbers."""
    return {
        name: float(value)
        for name, value in fields.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


def final(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `results.json`, apart from the curves of the same names."""
    return {f"final/{name}": value for name, value in numbers(results).items()}


def places(results: Mapping[str, Any]) -> dict[str, str]:
    """Where the models, tables and sets of `results.json` lie."""
    texts = {name: each for name, each in results.items() if isinstance(each, str)}
    return {
        name: str(Path(text).absolute())
        for name, text in texts.items()
        if os.sep in text and Path(text).exists()
    }
