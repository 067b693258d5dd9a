"""A chief that takes over from one that was killed, while its workers go on."""

from datetime import datetime
from pathlib import Path
from typing import Any

from keras_tuner.src.engine.trial import Trial, TrialStatus

from kerasdistill.runs import read_json
from tuners.durable import Durable


def resume(oracle: Durable) -> None:
    """Reloads `oracle` as it was, running trials still in their workers' hands.

    Its `reload` queues them for a second run, though their workers may be at work.
    What a worker has told of its trial counts: it doesn't tell it twice. Call this
    before anything saves the oracle; without saved state it does nothing.

    Raises:
        StaleArtifactError: a file of the oracle's is damaged; its name is told.
    """
    path = Path(oracle._get_oracle_fname())
    if not path.exists():
        return
    oracle.reload()
    for worker, trial_id in read_json(path)["ongoing_trials"].items():
        if trial_id not in oracle._retry_queue:
            continue  # it ended; only the oracle's own file doesn't know
        oracle._retry_queue.remove(trial_id)
        trial = Trial.load(str(Path(oracle._get_trial_dir(trial_id), "trial.json")))
        trial.status = TrialStatus.RUNNING
        oracle.trials[trial_id] = oracle.ongoing_trials[worker] = trial
        _show(oracle._display, trial_id, number=oracle.start_order.index(trial_id) + 1)


def _show(display: Any, trial_id: str, *, number: int) -> None:
    # It looks up when a trial began, and is saved before the latest of them.
    display.search_start = display.search_start or datetime.now()
    display.trial_start.setdefault(trial_id, datetime.now())
    display.trial_number.setdefault(trial_id, number)
