"""KerasTuner's oracles, made to survive being killed at any moment.

The stock classes write their files in place, read a trial that was never handed out
as one that ran (its place is lost), and run a finished trial again where the kill came
between two of their writes.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from kerasdistill.errors import StaleArtifactError
from kerasdistill.files import sealed, write_atomic
from kerasdistill.runs import read_json

STATE_NAME, TRIAL_NAME = "oracle.json", "trial.json"
_ENDED = ("COMPLETED", "FAILED")
MOST_SCORE = float(np.finfo(np.float32).max)
# What a file raises that is JSON but not KerasTuner's.
_STRANGE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Durable(keras_tuner.Oracle):
    """Derive from it, or mix it in, in front of an oracle's class.

    A trial counts from the moment `oracle.json` names it; before that nothing has
    been trained for it, and the oracle proposes the same again. One that has ended
    in its own file has ended. `copied` oracles, of which other processes have copies
    too, write nothing by themselves.
    """

    copied = False

    def save(self) -> None:
        """Writes the oracle's state; complete or not at all."""
        if not self.copied:
            _write(self._state_path, self.get_state())

    def write_trial(self, trial: Any) -> None:
        """Writes a trial's file; complete or not at all."""
        _write(self._trial_path(trial.trial_id), trial.get_state())

    def _save_trial(self, trial: Any) -> None:
        if not self.copied:
            self.write_trial(trial)

    def score_trial(self, trial: Any) -> None:
        """As KerasTuner does; a score that is missing, or nothing that single precision
        could hold, becomes NaN, which makes the trial a failed one."""
        if trial.metrics.exists(self.objective.name):
            super().score_trial(trial)
        if trial.score is None or not abs(trial.score) <= MOST_SCORE:
            trial.score = float("nan")

    def reload(self) -> None:
        """Goes back to what the files say, with the trial that was under way queued.

        Raises:
            StaleArtifactError: a file is damaged or missing.
        """
        folder = Path(self._project_dir)
        # Its own alone: workers of a search on many machines may be writing theirs.
        for name in (STATE_NAME, TRIAL_NAME):
            for partial in folder.rglob(f".*.partial.{name}"):
                partial.unlink(missing_ok=True)
        state = self._read(self._state_path)
        try:
            started = [str(trial_id) for trial_id in state["start_order"]]
            require_names(started)
            self.trials = {name: self._trial(name) for name in started}
            for path in folder.glob(f"trial_*/{TRIAL_NAME}"):
                if path.parent.name.removeprefix("trial_") not in self.trials:
                    path.unlink()  # never handed out
            self.set_state(state)
        except _STRANGE as error:
            raise self._damaged(self._state_path, repr(error)) from error
        self._settle()

    def _settle(self) -> None:
        """Queues what was under way and takes note of what had ended."""
        # The latest is taken first.
        waiting = {*self._retry_queue}
        waiting |= {trial.trial_id for trial in self.ongoing_trials.values()}
        self.ongoing_trials = {}
        for name in self.start_order:
            trial = self.trials[name]
            if trial.status in _ENDED:
                waiting.discard(name)
                if name not in self.end_order:
                    self.end_order.append(name)
                    self._run_times[name] += 1
                continue
            # Its score may have been told just before the end; it is told again.
            trial.metrics = type(trial.metrics)()
            waiting.add(name)
        self._retry_queue = [n for n in reversed(self.start_order) if n in waiting]

    def _trial(self, trial_id: str) -> Any:
        path = self._trial_path(trial_id)
        try:
            return keras_tuner.engine.trial.Trial.from_state(self._read(path))
        except _STRANGE as error:
            raise self._damaged(path, repr(error)) from error

    def _read(self, path: Path) -> Any:
        if not path.exists():
            raise self._damaged(path, "it is missing")
        try:
            return read_json(path)
        except StaleArtifactError as error:
            raise self._damaged(path, str(error.__cause__ or error)) from error

    def _damaged(self, path: Path, why: str) -> StaleArtifactError:
        return StaleArtifactError(
            f"{path} is damaged ({why}) and the search can't go on without it; put it "
            f"back from a copy, or remove {Path(self._directory)} to begin anew"
        )

    @property
    def _state_path(self) -> Path:
        return Path(self._project_dir, STATE_NAME)

    def _trial_path(self, trial_id: str) -> Path:
        return Path(self._project_dir, f"trial_{trial_id}", TRIAL_NAME)


def require_names(names: Iterable[str]) -> None:
    """StaleArtifactError for a name, from a file that somebody else may have written,
    that would lead out of its folder."""
    for name in names:
        if not re.fullmatch(r"[\w-]+", name):
            raise StaleArtifactError(
                f"a search's file names {name!r} as a trial or a worker, expected "
                "letters, digits, _ and -; it was not written by a search: remove it"
            )


def _write(path: Path, state: Any) -> None:
    # Sealed, but in KerasTuner's words, which know NaN: a diverged trial has it.
    write_atomic(path, json.dumps(sealed(state), indent=2, sort_keys=True))
