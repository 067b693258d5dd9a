"""An oracle's files: complete or absent, and consistent after a kill between two."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.src.engine.trial import TrialStatus

from kerasdistill.files import write_atomic
from kerasdistill.runs import read_json

_ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)


def write_whole(oracle: keras_tuner.Oracle) -> None:
    """Lets `oracle` save by renaming: KerasTuner's own writes in place, and a kill in
    the middle leaves half a file. An oracle with a `save` of its own keeps that."""
    if type(oracle).save is keras_tuner.Oracle.save:
        oracle.save = _saver(oracle)
    if type(oracle)._save_trial is keras_tuner.Oracle._save_trial:
        oracle._save_trial = _trial_saver(oracle)


def _saver(oracle: keras_tuner.Oracle) -> Callable[[], None]:
    def save() -> None:
        write_atomic(oracle._get_oracle_fname(), json.dumps(oracle.get_state()))

    return save


def _trial_saver(oracle: keras_tuner.Oracle) -> Callable[[Any], None]:
    def save_trial(trial: Any) -> None:
        # NaN stays: a diverged trial's metrics are part of its state.
        path = Path(oracle._get_trial_dir(trial.trial_id), "trial.json")
        write_atomic(path, json.dumps(trial.get_state()))

    return save_trial


def resume(oracle: keras_tuner.Oracle) -> None:
    """Reloads `oracle` as it was, running trials still in their workers' hands.

    KerasTuner's `reload` sends them for a second run at once, though their workers
    may be at work. Its two files are written one after the other: where a kill came
    between, they are brought together, so that no trial is lost and none that ended
    is run again. Call it before anything saves the oracle.

    Raises:
        StaleArtifactError: a file of the oracle's is damaged; its name is told.
    """
    path = Path(oracle._get_oracle_fname())
    for file in sorted(path.parent.glob("trial_*/trial.json")):
        read_json(file)
    if not path.exists():
        # Killed before the first save: its trial was announced to nobody yet.
        return
    running = read_json(path)["ongoing_trials"]
    oracle.reload()
    for worker, trial_id in running.items():
        oracle._retry_queue.remove(trial_id)
        if (trial := oracle.trials[trial_id]).status not in _ENDED:
            trial.status = TrialStatus.RUNNING
            oracle.ongoing_trials[worker] = trial
    held = {trial.trial_id for trial in oracle.ongoing_trials.values()}
    for trial_id, trial in sorted(oracle.trials.items()):
        if trial_id not in oracle.start_order:
            oracle.start_order.append(trial_id)
            oracle._record_values(trial)
        if trial.status in _ENDED:
            if trial_id not in oracle.end_order:
                oracle.end_order.append(trial_id)
        elif trial_id not in held and trial_id not in oracle._retry_queue:
            oracle._retry_queue.append(trial_id)
        _show(oracle, trial_id)


def _show(oracle: keras_tuner.Oracle, trial_id: str) -> None:
    # Its display looks up when a trial began, and saves that one trial late.
    display = oracle._display
    display.search_start = display.search_start or datetime.now()
    display.trial_start.setdefault(trial_id, datetime.now())
    display.trial_number.setdefault(trial_id, oracle.start_order.index(trial_id) + 1)
