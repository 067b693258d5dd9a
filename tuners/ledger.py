"""The shared state of a search: the oracle's, who has which trial, and folders.

The number of an attempt at a trial is its fencing token. Whoever has not the latest
one can publish nothing, and writes into a folder that is nobody else's.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_tuner.src.engine.trial import Trial, TrialStatus

from kerasdistill.errors import UserError
from tuners.durable import MOST_SCORE, Durable, require_names
from tuners.states import States

TRIALS = "trials"  # the folder in a search's
_PREPARED = "it is being prepared"
MOST_LOSSES = 3  # workers that die at one trial before it is taken to be the reason


class LeaseLostError(Exception):
    """A trial was given to another worker: what this one has of it is dropped."""


@dataclass(frozen=True)
class Lease:
    """A trial to run in `folder`; it is one's own until there is a later attempt."""

    trial_id: str
    attempt: int
    values: dict[str, Any]
    folder: Path


class Ledger:
    """One process's view of a search's shared state, and its changes to it.

    `oracle`, a copy that writes no files, and `shared` are as of the last call:
    `attempts` and `losses` by trial, `max_trials`, `worker_timeout` in seconds, why the
    search was `stopped`, and whether it went on `alone`. `session` is a name that no
    other process has, by which the oracle knows its trial; None for the one that holds
    the search's folder.
    """

    def __init__(
        self, oracle: Durable, folder: str | Path, *, session: str | None = None
    ) -> None:
        self.oracle, self.session = oracle, session
        self.shared: dict[str, Any] = {"attempts": {}, "losses": {}, "alone": True}
        self._folder = Path(folder, TRIALS)
        self._states = States(self._folder / "ledger", writer=session or "lead")
        self._number = 0  # of the state in memory, 0 if that is none
        oracle._set_project_dir(str(folder), TRIALS)
        oracle.copied = True

    def begin(self, **settings: Any) -> None:
        """Shares what one process has left in the oracle's files, or goes on."""

        def decide() -> bool:
            fresh, attempts = self.shared["alone"], self.shared["attempts"]
            if fresh and self.oracle._state_path.exists():
                self.oracle.reload()
                for name in self.oracle._retry_queue:
                    attempts[name] = attempts.get(name, 0) + 1
            fresh = fresh or self.shared["stopped"] == _PREPARED
            self.shared.update(settings, alone=False, stopped=fresh and _PREPARED)
            return True

        self._change(decide)
        if self.shared["stopped"]:  # nobody works yet
            for name in self.oracle._retry_queue:
                place = self._attempt(name, self.shared["attempts"][name])
                _moved(self._attempt(name, 0), place)
            self.stop("")
        self.oracle.max_trials = self.shared["max_trials"]

    def close(self) -> None:
        """Ends the sharing: what workers did is in the oracle's files then, and those
        that still live end."""
        most, oracle = self.oracle.max_trials, self.oracle
        if self.begun:
            self._read()
        if not self.shared["alone"]:
            self.stop("one process goes on with it alone")
            oracle.max_trials = most
            for name, trial in oracle.trials.items():
                if name in oracle.end_order:
                    self.settle(name)
                else:
                    attempts = self.shared["attempts"].get(name, 0)
                    self._take_over(name, attempts + 1, self._attempt(name, 0))
                oracle.write_trial(trial)
            oracle.copied = False
            oracle.save()
            self._change(lambda: self.shared.update(alone=True) or True)
        oracle.copied = False

    @property
    def begun(self) -> bool:
        return self._states.latest() > 0

    @property
    def over(self) -> bool:
        """Every trial has ended and there are no more."""
        left = self.oracle.ongoing_trials or self.oracle._retry_queue
        return self._full and not left

    def open(self, *, most: int) -> bool:
        """Whether a search goes on, or is over with so many trials."""
        if self.begun:
            self._read()
            fewer = self.over and self.shared["max_trials"] < most
            return not fewer and not self.shared["stopped"]
        return False

    def refresh(self) -> None:
        """Reads the latest state; UserError for workers if the search was stopped."""
        self._read()
        if self.session is not None and self.shared["stopped"]:
            raise UserError(f"the search was stopped: {self.shared['stopped']}")

    def _read(self) -> None:
        if not self._number or self._number != self._states.latest():
            self._number, state = self._states.read()
            oracle, self.shared = self.oracle, state["shared"]
            require_names({*state["trials"], *state["oracle"]["ongoing_trials"]})
            oracle.trials = {k: Trial.from_state(t) for k, t in state["trials"].items()}
            oracle.set_state(state["oracle"])
            oracle.max_trials = self.shared["max_trials"]

    def take(self) -> Lease | None:
        """A trial to run, with what earlier attempts left in its folder; None if others
        run the last ones."""

        def decide() -> Any:
            if self._full and not self.oracle._retry_queue:
                return None
            trial = self.oracle.create_trial(self.session)
            if trial.status != TrialStatus.RUNNING:  # there are no more points
                self.shared["max_trials"] = len(self.oracle.trials)
                return trial
            name, attempts = trial.trial_id, self.shared["attempts"]
            number = attempts[name] = attempts.get(name, 0) + 1
            values = dict(trial.hyperparameters.values)
            return Lease(name, number, values, self._attempt(name, number))

        lease = self._change(decide)
        if not isinstance(lease, Lease):
            return None
        self._take_over(lease.trial_id, lease.attempt, lease.folder)
        return lease

    def check(self, lease: Lease) -> None:
        """LeaseLostError unless the trial is still this session's."""
        self.refresh()
        self._require(lease)

    def end(self, lease: Lease, *, score: float | None, message: str = "") -> None:
        """Ends a trial, without a score as a failed one; LeaseLostError if it is
        another's by now."""

        def decide() -> bool:
            self._require(lease)
            trial = self.oracle.trials[lease.trial_id]
            trial.status = TrialStatus.FAILED
            trial.message = message or f"its score is {score}"
            if score is not None and abs(score) <= MOST_SCORE:
                named = {self.oracle.objective.name: score}
                self.oracle.update_trial(lease.trial_id, named)
                trial.status, trial.message = TrialStatus.COMPLETED, None
            self.oracle.end_trial(trial)
            return True

        self._change(decide)
        self.settle(lease.trial_id)

    def release(self, sessions: set[str], *, loss: int) -> list[tuple[str, Trial]]:
        """Takes the trials of `sessions` for others to run, and gives both back. `loss`
        is 1 if they may have died of them, else 0; the third makes it a failure."""

        def decide() -> list[tuple[str, Trial]]:
            oracle, losses = self.oracle, self.shared["losses"]
            taken = []
            for session in sorted(sessions & oracle.ongoing_trials.keys()):
                trial = oracle.ongoing_trials.pop(session)
                taken.append((session, trial))
                losses[trial.trial_id] = losses.get(trial.trial_id, 0) + loss
                if losses[trial.trial_id] < MOST_LOSSES:
                    oracle._retry_queue.append(trial.trial_id)
                    continue
                trial.status = TrialStatus.FAILED
                trial.message = f"{MOST_LOSSES} workers died at it, one after the other"
                oracle.end_trial(trial)
            return taken

        return self._change(decide)

    def stop(self, reason: str) -> None:
        """Ends the search for all workers; "" lets them go on."""
        self._change(lambda: self.shared.update(stopped=reason) or True)

    def settle(self, trial_id: str) -> None:
        """Moves what the accepted attempt at an ended trial left into the trial's own
        folder, and removes the others; whoever comes first does it."""
        latest = self.shared["attempts"].get(trial_id, 0)
        for number in range(latest, 0, -1):
            attempt = self._attempt(trial_id, number)
            if number == latest:
                _moved(attempt, self._attempt(trial_id, 0))
            shutil.rmtree(attempt, ignore_errors=True)
        if self.oracle.trials[trial_id].status == TrialStatus.FAILED:
            self.oracle.write_trial(self.oracle.trials[trial_id])  # it may be all

    @property
    def _full(self) -> bool:
        return len(self.oracle.trials) >= self.shared["max_trials"]

    def _require(self, lease: Lease) -> None:
        trial = self.oracle.ongoing_trials.get(self.session)
        latest = self.shared["attempts"].get(lease.trial_id)
        if (trial and trial.trial_id, latest) != (lease.trial_id, lease.attempt):
            raise LeaseLostError(f"trial {lease.trial_id} is another worker's now")

    def _change(self, decide: Callable[[], Any]) -> Any:
        """What `decide` returns once the change that it makes to the latest state is
        published; where that is false, it has made none."""
        while True:
            if self.begun:
                self.refresh()
            number, self._number = self._number, 0  # half a change may stay in memory
            done = decide()
            if done:
                trials = {name: t.get_state() for name, t in self.oracle.trials.items()}
                state = {"oracle": self.oracle.get_state(), "trials": trials}
                state["shared"] = self.shared
                if not self._states.publish(number + 1, state):
                    continue
            self._number = number + bool(done)
            return done

    def _attempt(self, trial_id: str, number: int) -> Path:
        """An attempt's folder; 0 is the trial's own."""
        name = f"attempt_{trial_id}_{number}" if number else f"trial_{trial_id}"
        return self._folder / name

    def _take_over(self, trial_id: str, attempt: int, folder: Path) -> None:
        """Moves what the latest attempt before left: who held it loses the path to it,
        and may keep its lock."""
        for number in range(attempt - 1, 0, -1):
            if _moved(self._attempt(trial_id, number), folder):
                (folder / "lock").unlink(missing_ok=True)
                return


def _moved(folder: Path, target: Path) -> bool:
    """Whether `folder` took a place that was free; another may have been faster."""
    try:
        os.rename(folder, target)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
