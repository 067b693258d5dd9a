"""Watching a search: its tables, and a line after each trial."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.running.steps import duration
from tuners import record
from tuners.durable import Durable
from tuners.oracles import OBJECTIVE
from tuners.search import require_hope
from tuners.space import Space


class Watch:
    """Rewrites the tables after each trial and says how far the search is.

    Args:
        folder: the search's.
        space: names the dimensions.
        oracle: its name.
        seed: the search's.
        max_trials: how many trials there are to be.
        keep_all: keep all trials' models, not the best one's alone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        space: Space,
        oracle: str,
        seed: int,
        max_trials: int,
        keep_all: bool,
    ):
        self._folder = folder
        self._space = space
        self._settings = {"oracle": oracle, "seed": seed, "max_trials": max_trials}
        self._max_trials = max_trials
        self._keep_all = keep_all
        self._began = time.monotonic()
        self._before = len(record.trials(folder))
        require_hope(record.trials(folder), left=max_trials)
        record.declare_on_board(folder, space)

    def trial_ended(self, oracle: Durable) -> None:
        """Called by whoever asks the oracle.

        Raises:
            UserError: there is no hope that any trial comes to a score.
        """
        found = self._write(oracle)
        left = max(0, self._max_trials - len(found))
        self._tell(found, left)
        require_hope(found, left=left)

    def search_ended(self, oracle: Durable) -> None:
        """Called when there are no more trials; UserError if none came to a score."""
        require_hope(self._write(oracle), left=0)

    def _write(self, oracle: Durable) -> list[dict[str, Any]]:
        scales = getattr(oracle, "length_scales", dict)()  # only gp has any
        found = record.write(
            self._folder, space=self._space, length_scales=scales, **self._settings
        )
        if not self._keep_all:
            # What is not the best now will never be.
            for trial in record.ranked(found)[1:]:
                (trial["folder"] / "model.keras").unlink(missing_ok=True)
        return found

    def _tell(self, found: Sequence[Mapping[str, Any]], left: int) -> None:
        latest = max(found, key=record.ended_at)
        outcome = f"failed ({latest.get('error')})"
        if latest["status"] == "COMPLETED":
            outcome = f"{OBJECTIVE} {latest[OBJECTIVE]:.4f}"
        for best in record.ranked(found)[:1]:
            outcome += f" (best {best[OBJECTIVE]:.4f} in trial {best['number']})"
        took = time.monotonic() - self._began
        each = took / max(1, len(found) - self._before)
        print(
            f"trial {latest['number']} of {self._max_trials}: {outcome}; about "
            f"{duration(each * left)} left",
            file=sys.stderr,
            flush=True,
        )
