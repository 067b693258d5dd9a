"""What the benchmarks share: alternating rounds, and a table or JSON of the rates."""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping

# Before TensorFlow starts: two cores, however many there are.
CORES = 2
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def parser(description: str, *, views: int) -> argparse.ArgumentParser:
    """Of --views, --rounds and --json."""
    made = argparse.ArgumentParser(description=description, allow_abbrev=False)
    made.add_argument("--views", type=int, default=views, help="views in a round")
    made.add_argument("--rounds", type=int, default=3, help="the best one counts")
    made.add_argument("--json", action="store_true", help="one JSON object instead")
    return made


def arguments(description: str, *, views: int) -> argparse.Namespace:
    """The parsed ones."""
    return parser(description, views=views).parse_args()


@dataclasses.dataclass(frozen=True)
class Rate:
    """Images per second of the clock, and per second of one core's work."""

    images_per_second: float
    images_per_core_second: float


def rates(ways: Mapping[str, Callable[[], int]], *, rounds: int) -> dict[str, Rate]:
    """The best of some rounds of each way, which returns how many views it made.

    Each way runs once unmeasured, which compiles and fills caches. The ways take
    turns, so that other work on the machine slows all of them.
    """
    for way in ways.values():
        way()
    best = dict.fromkeys(ways, Rate(0.0, 0.0))
    for _ in range(rounds):
        for name, way in ways.items():
            clock, work = time.perf_counter(), time.process_time()
            count = way()
            clock, work = time.perf_counter() - clock, time.process_time() - work
            best[name] = Rate(
                max(best[name].images_per_second, count / clock),
                max(best[name].images_per_core_second, count / work),
            )
    return best


def show(title: str, measured: Mapping[str, Rate], *, as_json: bool) -> None:
    """Prints the rates; the last column is each one's multiple of the last row."""
    if as_json:
        found = {name: dataclasses.asdict(rate) for name, rate in measured.items()}
        print(json.dumps({"benchmark": title, "cores": CORES, "rates": found}))
        return
    base = list(measured.values())[-1]
    print(f"\n{title}, {CORES} cores\n")
    print("| | images/s | images per core-second | times the last |")
    print("|---|---|---|---|")
    for name, rate in measured.items():
        times = rate.images_per_second / base.images_per_second
        print(
            f"| {name} | {rate.images_per_second:,.0f} "
            f"| {rate.images_per_core_second:,.0f} | {times:.2f} |"
        )
