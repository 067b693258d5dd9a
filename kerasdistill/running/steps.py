"""A story is a list of steps: one executor says what is left of it, then does that."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.files import require_space, why_unwritable
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from kerasdistill.training import trackers

Results = Mapping[str, dict[str, Any]]  # of earlier steps, by their names


@dataclass(frozen=True)
class Cost:
    """What is left of a step: seconds (None: not known), bytes it will still write.

    `how` is for people: what the seconds are made of, with the measured rates.
    """

    seconds: float | None
    num_bytes: int = 0
    how: str = ""


@dataclass(frozen=True)
class Step:
    """A run folder, what is left of it, and the work.

    Attributes:
        name: what people call it, and later steps find its results by.
        place: gives its run folder, from the results of the steps before.
        work: (its folder, held; results) -> the content of `results.json`.
        cost: (its folder, None while a step it needs is not finished; results, with
            stand-ins for those not finished) -> what is left, or None for nothing.
            May measure for some seconds; called only if the step is not finished.
            Without it the step is too short to plan.
        needs: names of the steps whose results `place` looks at.
        stand_in: makes, in a scratch folder, what later steps measure with while
            this one is not finished.
        finished: the results in a folder if nothing is left to do there.
        checks: whether `work` is called all the same, because it looks closer.
    """

    name: str
    place: Callable[[Results], RunDirectory]
    work: Callable[[RunDirectory, Results], dict[str, Any]]
    cost: Callable[[RunDirectory | None, Results], Cost | None] | None = None
    needs: tuple[str, ...] = ()
    stand_in: Callable[[Path], dict[str, Any]] | None = None
    finished: Callable[[RunDirectory], dict[str, Any] | None] = RunDirectory.results
    checks: bool = False


@dataclass(frozen=True)
class Plan:
    """What is left to do, in order; what is finished is not in it."""

    costs: Mapping[str, Cost]

    @property
    def seconds(self) -> float:
        """Of all steps whose time is known."""
        return sum(cost.seconds or 0.0 for cost in self.costs.values())

    @property
    def num_bytes(self) -> int:
        """Of all steps."""
        return sum(cost.num_bytes for cost in self.costs.values())

    def lines(self) -> list[str]:
        """For people: a line for each step."""
        return [
            f"step {number}: {_line(name, cost)}"
            for number, (name, cost) in enumerate(self.costs.items(), start=1)
        ]

    def to_json(self) -> dict[str, Any]:
        """The steps, their costs and their sum."""
        return {
            "planned_seconds": self.seconds,
            "planned_bytes": self.num_bytes,
            "steps": [{"name": n, **vars(cost)} for n, cost in self.costs.items()],
        }


@dataclass(frozen=True)
class Done:
    """A story's end: each step's results by its name; `took` has `kept` of those that
    were planned and done by this call."""

    results: dict[str, dict[str, Any]]
    took: list[dict[str, Any]]


class OnlyPlanned(Exception):
    """Ends a story that was only to be planned; `plan` is what it would do."""

    def __init__(self, plan: Plan):
        super().__init__("the plan was all that was wanted")
        self.plan = plan


def left(story: Sequence[Step], *, workdir: str | Path) -> Plan:
    """What is left of a story and costs; nothing is written outside a scratch folder.

    Raises:
        UserError: no space at all under `workdir`, or what the steps refuse.
    """
    done: dict[str, dict[str, Any]] = {}
    pretended: dict[str, dict[str, Any]] = {}
    costs: dict[str, Cost] = {}
    planned = [step for step in story if step.cost is not None]
    needed = {name for step in planned for name in step.needs}
    with tempfile.TemporaryDirectory() as scratch:
        for step in planned:
            folder = step.place(done) if done.keys() >= set(step.needs) else None
            results = step.finished(folder) if folder is not None else None
            if results is not None:
                done[step.name] = results
                continue
            require_space(workdir, 0)  # before anything is measured
            if (cost := step.cost(folder, {**done, **pretended})) is not None:
                costs[step.name] = cost
            if step.stand_in is not None and step.name in needed:
                pretended[step.name] = step.stand_in(Path(scratch))
    return Plan(costs)


def run(
    story: Sequence[Step],
    *,
    workdir: str | Path,
    only_plan: bool = False,
    ended: Callable[[str, dict[str, Any]], None] = lambda name, results: None,
) -> Done:
    """Announces what is left of a story, then does it in order.

    Whatever is finished is kept, so a repetition goes on where an earlier call was
    interrupted. `ended` is called with the name and the results of every step,
    finished ones too.

    Returns:
        What was done. Results of planned steps have `planned_seconds` and
        `process_seconds`, of the process that finished them; the last one's "plan"
        lists these for all steps that were left.

    Raises:
        UserError: less free space than the plan will write.
        OnlyPlanned: with `only_plan`, once the plan is printed.
    """
    plan = announce(left(story, workdir=workdir), workdir=workdir)
    if only_plan:
        raise OnlyPlanned(plan)
    results: dict[str, dict[str, Any]] = {}
    took: list[dict[str, Any]] = []
    for step in story:
        place = step.place(results)
        if (made := _finished(step, place)) is None:
            with place as folder:
                # Another process may have come to the end of it meanwhile.
                made = None if step.checks else step.finished(folder)
                if made is None:
                    with _followed(step, folder) as follower_is_told:
                        began = time.monotonic()
                        made = step.work(folder, results)
                        if (cost := plan.costs.get(step.name)) is not None:
                            made |= tell(step.name, cost, since=began)
                            took.append(kept(step.name, made))
                        if step is story[-1]:
                            made["plan"] = took
                        made = folder.finish(made)
                        follower_is_told(made)
        results[step.name] = made
        ended(step.name, made)
    tell_all(took)
    return Done(results, took)


def _finished(step: Step, folder: RunDirectory) -> dict[str, Any] | None:
    """A finished step's results, found without its lock, so on a read-only disk too.

    Work that looks closer is done without only where it can't be done.
    """
    if step.checks and why_unwritable(folder.path) is None:
        return None
    if (results := step.finished(folder)) is not None:
        folder.check()
    return results


def _followed(step: Step, folder: RunDirectory) -> contextlib.AbstractContextManager:
    """`trackers.following`, but of nobody where finished work is only looked at."""
    if step.checks and folder.results() is not None:
        return contextlib.nullcontext(lambda results: None)
    return trackers.following(folder)


def announce(plan: Plan, *, workdir: str | Path) -> Plan:
    """Prints the plan to stderr and gives it back; nothing to do prints nothing.

    Raises:
        UserError: less free space under `workdir` than the plan will write.
    """
    say(*plan.lines())
    if len(plan.costs) > 1:
        say(
            f"in all about {duration(plan.seconds)} and {size(plan.num_bytes)} under "
            f"{workdir}; interrupt and repeat at will"
        )
    if plan.costs:
        require_space(workdir, plan.num_bytes)
    return plan


def tell(name: str, cost: Cost, *, since: float) -> dict[str, float | None]:
    """Prints a step's planned time against that since `since`, of `time.monotonic()`.

    Returns:
        What `results.json` keeps of it: `planned_seconds` and `process_seconds`.
    """
    took = time.monotonic() - since
    if cost.seconds is not None:
        say(f"{name}: {compared(cost.seconds, took)}")
    return {"planned_seconds": cost.seconds, "process_seconds": took}


def kept(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `tell` gave to a step's results, with its name."""
    fields = ("planned_seconds", "process_seconds")
    return {"name": name, **{field: results.get(field) for field in fields}}


def tell_all(took: Sequence[Mapping[str, Any]]) -> None:
    """Prints the sum of several steps (see `kept`), planned against real."""
    timed = [each for each in took if each["planned_seconds"] is not None]
    if len(timed) > 1:
        planned = sum(each["planned_seconds"] for each in timed)
        seconds = sum(each["process_seconds"] for each in timed)
        say(f"in all: {compared(planned, seconds)}")


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


def _line(name: str, cost: Cost) -> str:
    seconds = "time not known"
    if cost.seconds is not None:
        seconds = f"about {duration(cost.seconds)}"
    how = f" ({cost.how})" if cost.how else ""
    return f"{name}{how}: {seconds}, {size(cost.num_bytes)}"
