"""The loop of a search: an oracle's trials, each run in a folder of its own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner

from kerasdistill import terminal
from kerasdistill.errors import DivergedError, UserError
from tuners.durable import STATE_NAME, Durable
from tuners.ledger import TRIALS, Ledger
from tuners.oracles import OBJECTIVE
from tuners.space import Value

HOPELESS = 10  # trials without a score, after which there is nothing to hope for

Run = Callable[[dict[str, Value], Path], float]


class _Stopped(keras_tuner.errors.FatalError):
    """Carries what ended the search past KerasTuner, which would retry or hide it."""


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Asks an oracle for trials and runs them until it has no more.

    A trial whose training diverges has failed; it is neither run again nor scored.
    Anything else that goes wrong ends the search with the trial still under way, so
    the same call goes on with it.

    Args:
        oracle: what proposes trials.
        folder: the search's, which this process holds; KerasTuner's files and the
            trials' folders go into trials/ in it. What workers left there counts.
        run: (values, the trial's folder) -> validation accuracy, 0 to 1. It is called
            again for a trial that was interrupted and goes on from what is there.
        ended: called with the tuner after each trial, when the oracle has saved it.
    """

    def __init__(
        self,
        oracle: Durable,
        *,
        folder: str | Path,
        run: Run,
        ended: Callable[["Tuner"], None] = lambda tuner: None,
    ):
        self._run = run
        self._ended = ended
        Ledger(oracle, folder).close()
        with terminal.libraries_aside():  # KerasTuner tells what it reads
            super().__init__(oracle, directory=str(folder), project_name=TRIALS)

    def run_trial(self, trial) -> dict[str, float]:
        """One trial; KerasTuner reports what it returns to the oracle."""
        folder = Path(self.get_trial_dir(trial.trial_id))
        try:
            score = self._run(dict(trial.hyperparameters.values), folder)
        except DivergedError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            raise _Stopped from error
        return {OBJECTIVE: score}

    def search(self) -> None:
        """Runs trials until the oracle has no more.

        Raises:
            Exception: whatever ended a trial, but for failing.
        """
        try:
            super().search()
        except _Stopped as stopped:
            raise stopped.__cause__ from None

    def on_trial_end(self, trial) -> None:
        """The oracle learns the outcome; then whoever watches the search."""
        super().on_trial_end(trial)
        self._ended(self)

    # The oracle's file is the only state there is. KerasTuner's own of a tuner is
    # written after the first trial, so one killed before that would begin anew.
    def _get_tuner_fname(self) -> str:
        return str(Path(self.project_dir, STATE_NAME))

    def save(self) -> None:
        """Saves the oracle."""
        self.oracle.save()

    def reload(self) -> None:
        """Goes back to the saved oracle."""
        self.oracle.reload()


def require_hope(trials: Sequence[Mapping[str, Any]], *, left: int) -> None:
    """Ends a search in which no trial has come to a score.

    Args:
        trials: those that have ended, with their `status`, and `error` if they failed.
        left: how many are still to come.

    Raises:
        UserError: ten of them, or all there are to be, have failed and none has not.
    """
    hopeless = len(trials) >= HOPELESS or not left
    if hopeless and all(trial["status"] == "FAILED" for trial in trials):
        last = trials[-1]["error"] if trials else "there was none"
        raise UserError(
            f"none of {len(trials)} trials came to a score (the last: {last}); pin a "
            "lower rate with `fix` learning_rate=R, try `precision='float32'` or look "
            "at the data"
        )
