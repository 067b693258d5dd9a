"""A search's tables on disk, and a line on stderr after each trial."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.experiments.search.definition import Search
from kerasdistill.running.steps import duration
from kerasdistill.terminal import say
from kerasdistill.training import trackers
from tuners import record
from tuners.belief import Belief
from tuners.durable import Durable
from tuners.oracles import OBJECTIVE
from tuners.search import require_hope

BELIEF_AFTER = 20  # trials, when it is told for the first time
HARDLY = 0.05  # a share of what differs that tells nothing apart


class Tables:
    """Rewrites a search's tables after each trial and says how far it is.

    Raises:
        UserError: there is no hope that any trial comes to a score.
    """

    def __init__(self, folder: Path, search: Search):
        self._folder = folder
        self._search = search
        self._began = time.monotonic()
        self._before = len(record.trials(folder))
        self._believed_at = self._before if self._before >= BELIEF_AFTER else 0
        require_hope(record.trials(folder), left=search.max_trials)

    def trial_ended(self, oracle: Durable) -> None:
        """Called by whoever asks the oracle; UserError where there is no more hope."""
        trials = self._write(oracle)
        left = max(0, self._search.max_trials - len(trials))
        self._print(trials, left)
        require_hope(trials, left=left)
        if not self._believed_at and len(trials) >= BELIEF_AFTER:
            self._tell_belief(oracle, len(trials))

    def search_ended(self, oracle: Durable) -> None:
        """Called when there are no more trials; UserError if none came to a score."""
        trials = self._write(oracle)
        require_hope(trials, left=0)
        if len(trials) > self._believed_at:
            self._tell_belief(oracle, len(trials))

    def _tell_belief(self, oracle: Durable, count: int) -> None:
        """What the oracle's model makes of the trials, if it has one."""
        self._believed_at = count
        found = getattr(oracle, "belief", lambda: None)()
        if found is not None:
            trial_id, belief = found
            measured = oracle.trials[trial_id].score
            for line in believed(belief, number=int(trial_id) + 1, measured=measured):
                say(f"after {count} trials: {line}")

    def _write(self, oracle: Durable) -> list[dict[str, Any]]:
        search = self._search
        trials = record.write(
            self._folder,
            space=search.space,
            length_scales=getattr(oracle, "length_scales", dict)(),  # only gp has any
            oracle=search.oracle,
            seed=search.seed,
            max_trials=search.max_trials,
        )
        if not search.keeps_models:
            # What is not the best now will never be.
            for trial in record.ranked(trials)[1:]:
                (trial["folder"] / "model.keras").unlink(missing_ok=True)
        trackers.progress(self._folder, _curves(trials))
        return trials

    def _print(self, trials: Sequence[Mapping[str, Any]], left: int) -> None:
        latest = max(trials, key=record.ended_at)
        score = f"failed ({latest.get('error')})"
        if latest["status"] == "COMPLETED":
            score = f"{OBJECTIVE} {latest[OBJECTIVE]:.4f}"
        for best in record.ranked(trials)[:1]:
            score += f" (best {best[OBJECTIVE]:.4f} in trial {best['number']})"
        took = time.monotonic() - self._began
        each = took / max(1, len(trials) - self._before)
        say(
            f"trial {latest['number']} of {self._search.max_trials}: {score}; about "
            f"{duration(each * left)} left"
        )


def _curves(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For trackers: a row of numbers for each trial until the first that is not over,
    with the best score so far."""
    rows, best = [], None
    for number, trial in enumerate(trials, start=1):
        if trial["number"] != number:
            break
        score = trial.get(OBJECTIVE)
        best = max((each for each in (score, best) if each is not None), default=None)
        values = {f"searched/{name}": n for name, n in trial["values"].items()}
        rows.append({OBJECTIVE: score, f"best_{OBJECTIVE}": best, **values})
    return rows


def believed(belief: Belief, *, number: int, measured: float) -> list[str]:
    """A model's belief in plain words; `number` is of the trial it takes for the best,
    `measured` its accuracy."""
    mean, low, high, seen = (
        f"{100 * each:.1f}"
        for each in (belief.mean, belief.worst, belief.best, measured)
    )
    matter = {name: share for name, share in belief.shares.items() if share >= HARDLY}
    shares = ", ".join(f"{name} ({share:.0%})" for name, share in matter.items())
    rest = ", ".join(name for name in belief.shares if name not in matter)
    hardly = f"; hardly {rest}" if rest else ""
    return [
        f"trial {number} has the best recipe; from the others one would expect "
        f"{mean} % of it ({low} to {high} with 95 % certainty), it measured {seen} %",
        f"what makes recipes differ: {shares}{hardly}",
    ]
