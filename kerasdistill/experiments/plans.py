"""What a verb is about to cost, said before it begins, and how wrong that was."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.files import require_space


@dataclass(frozen=True)
class Step:
    """One step's cost: seconds (None: not known) and bytes that it will still write.

    `how` is for people: what the seconds are made of, with the measured rates.
    """

    name: str
    seconds: float | None
    num_bytes: int = 0
    how: str = ""


@dataclass(frozen=True)
class Plan:
    """The steps that are left to do, in order; what is finished is not among them."""

    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """Of all steps whose time is known."""
        return sum(step.seconds or 0.0 for step in self.steps)

    @property
    def num_bytes(self) -> int:
        """Of all steps."""
        return sum(step.num_bytes for step in self.steps)

    def step(self, name: str) -> Step | None:
        """The step of that name, None if it is finished already."""
        return next((step for step in self.steps if step.name == name), None)


def announce(plan: Plan, *, workdir: str | Path) -> Plan:
    """Prints the plan to stderr and gives it back; nothing to do prints nothing.

    Raises:
        UserError: less free space under `workdir` than the plan will write.
    """
    for number, step in enumerate(plan.steps, start=1):
        print(f"step {number}: {_line(step)}", file=sys.stderr)
    if len(plan.steps) > 1:
        print(
            f"in all about {duration(plan.seconds)} and {size(plan.num_bytes)} under "
            f"{workdir}; interrupt and repeat at will",
            file=sys.stderr,
        )
    require_space(workdir, plan.num_bytes)
    return plan


def tell(step: Step, *, since: float) -> dict[str, float | None]:
    """Prints planned against real to stderr.

    Args:
        step: as planned.
        since: `time.monotonic()` when it began.

    Returns:
        What `results.json` keeps of it: `planned_seconds` and `process_seconds`.
    """
    took = time.monotonic() - since
    if step.seconds is not None:
        print(f"{step.name}: {compared(step.seconds, took)}", file=sys.stderr)
    return {"planned_seconds": step.seconds, "process_seconds": took}


def kept(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `tell` gave to a step's results, with its name."""
    fields = ("planned_seconds", "process_seconds")
    return {"name": name, **{field: results[field] for field in fields}}


def tell_all(steps: Sequence[Mapping[str, Any]]) -> None:
    """Prints the sum of several steps (see `kept`), planned against real."""
    known = [step for step in steps if step["planned_seconds"] is not None]
    if len(known) > 1:
        planned = sum(step["planned_seconds"] for step in known)
        took = sum(step["process_seconds"] for step in known)
        print(f"in all: {compared(planned, took)}", file=sys.stderr)


def compared(planned: float, took: float) -> str:
    """One line, such as "planned 25 min, took 27 min: 8 % more"."""
    line = f"planned {duration(planned)}, took {duration(took)}"
    if planned <= 0:
        return line
    percent = round(100 * (took / planned - 1))
    if percent == 0:
        return f"{line}: as planned"
    return f"{line}: {abs(percent)} % {'more' if percent > 0 else 'less'}"


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "25 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes for people, decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _line(step: Step) -> str:
    time = "time not known"
    if step.seconds is not None:
        time = f"about {duration(step.seconds)}"
    how = f" ({step.how})" if step.how else ""
    return f"{step.name}{how}: {time}, {size(step.num_bytes)}"
