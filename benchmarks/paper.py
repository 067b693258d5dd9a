"""The first paper's Tables 1 and 2, as much of them as fits into a time limit.

    KERAS_BACKEND=jax python benchmarks/paper.py --time-limit 15m --search-rates

In this order: fast teachers of 24 epochs (and the published ones), their greedy super
teacher, 160 passes that it labels, then Table 2's students and Table 1's baselines from
the cheapest up, by their multiply-adds times their passes. Each is a command of the
command line, so a killed run goes on with the same words. Options that are not this
program's are handed to every command: --dataset, --quick, --precision, --deterministic.

All trainings have the cosine schedule over their passes. --search-rates is for students
that are below the paper's figure, apart for each budget with convolutions and without.
It tries learning rates and momenta on the cheapest of them, for a quarter of the passes
and by validation alone, and trains all of them again with the best. `paper_table.py`
prints what was found.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from paper_cells import PASSES, RATES, Cell, Student, scaled, teachers

from kerasdistill.files import write_json_atomic
from kerasdistill.reports import paper
from kerasdistill.runs import read_json

RESULTS = Path(__file__).resolve().parent / "results" / "paper"
# Fields of a run's results.
KEPT = "kind num_params dataset recipe environment weights_digest content_digest "
KEPT += "epochs best_epoch seconds images_per_second views views_per_second "
KEPT += "teacher_agreement val_accuracy test_accuracy val_accuracy_mirrored "
KEPT += "test_accuracy_mirrored"


def by_command_line(words: Sequence[str]) -> tuple[int, Any]:
    """A command's exit code and its answer, in this process."""
    from kerasdistill.cli.__main__ import main

    with contextlib.redirect_stdout(io.StringIO()) as answer:
        code = main([*words, "--json"])
    if (keras := sys.modules.get("keras")) is not None:  # finished work needs none
        keras.utils.clear_session()  # what Keras keeps of models adds up
    return code, json.loads(answer.getvalue()) if code == 0 else None


class Evidence:
    """Runs cells until the time is over; what they took tells what still fits."""

    def __init__(
        self,
        args: argparse.Namespace,
        *,
        run: Callable[[Sequence[str]], tuple[int, Any]] = by_command_line,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.args, self._run, self._clock = args, run, clock
        self._end = clock() + args.time_limit
        self._known: list[tuple[float, float, float]] = []
        self._done: dict[Student, dict[str, Any]] = {}
        self.left: list[str] = []
        self.failed: list[str] = []

    def expected(self, cell: Cell) -> float | None:
        """Seconds, by finished trainings that cost more and less; None without any.

        Beyond all of them time goes with the cost: rather too few seconds for a cheap
        cell. One that is stopped goes on next time, one that is left out did nothing.
        """
        if not self._known:
            return None
        costs, epochs, onces = map(np.array, zip(*sorted(self._known), strict=True))
        inside = np.clip(cell.cost, costs[0], costs[-1])
        an_epoch = np.exp(np.interp(np.log(inside), np.log(costs), np.log(epochs)))
        return float(onces.min() + cell.epochs * an_epoch * cell.cost / inside)

    def attempt(self, cell: Cell) -> dict[str, Any] | None:
        """The results; None if it failed or does not fit."""
        file = Path(self.args.workdir, "paper", f"{cell.name}.json")
        began, expected = self._clock(), self.expected(cell)
        rest = self._end - began
        if rest <= 0 or (not file.exists() and (expected or 0) > rest):
            about = "" if expected is None else f", about {expected:.0f} s"
            self.left.append(f"{cell.name}{about}")
            return None
        words = [*map(str, cell.words), "--workdir", self.args.workdir]
        print(f"{rest:.0f} s are left: {cell.name}", file=sys.stderr, flush=True)
        code, results = self._run([*words, *self.args.handed_on])
        if code == 130:  # by the alarm, or by somebody
            self._end = -math.inf
            self.left.append(f"{cell.name}, begun")
        elif code:
            self.failed.append(cell.name)
        if code:
            return None
        kept = self._keep(file, cell, results, self._clock() - began)
        if "seconds" in kept:
            once = max(0.0, kept["wall_seconds"] - kept["seconds"])
            self._known.append((cell.cost, kept["seconds"] / kept["epochs"], once))
        return results

    def _keep(self, file: Path, cell: Cell, results: Any, wall: float) -> Any:
        """Writes what is kept of the results, unless that was done before."""
        if file.exists():
            before, names = read_json(file), ("weights_digest", "content_digest")
            if all(before.get(name) == results.get(name) for name in names):
                return before
        run = Path(results.get("model") or results["distillation_set"]).parent
        environment = read_json(run / "environment.json") | {"command": None}
        environment["device"] = self.args.device()
        found = {**results, "environment": environment}
        kept = {name: found[name] for name in KEPT.split() if name in found}
        kept |= {"what": cell.what, "published": cell.published, "wall_seconds": wall}
        kept |= {"multiply_adds": cell.cost, **(cell.facts or {})}
        for folder in filter(None, (file.parent, self.args.results)):
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_json_atomic(Path(folder, file.name), kept)
        return kept

    def run(self) -> None:
        """Everything, as far as it goes."""
        args, passes = self.args, scaled(PASSES, self.args.scale)
        if (set_path := self._set(passes)) is None:
            self.left.append("all that needs the teachers' logits")
            return
        pairs = itertools.product(args.budgets, args.families)
        cells = [Student(budget, row, passes, set_path) for budget, row in pairs]
        bare = [row for row in args.families if row.startswith("convs")]
        cells += [Student(args.baselines, row, passes, None) for row in bare]
        cells.sort(key=lambda each: each.cell().cost)
        for each in cells:
            self._train(each)
        for which in itertools.product(args.budgets, ("hidden", "convs")):
            if args.search_rates:
                self._search([each for each in cells if each.group == which])
        for budget, row in (each.split(":") for each in args.seed_cells):
            best = self._best(Student(budget, row, passes, set_path))
            for seed in range(1, args.seeds):
                self._train(replace(best, seed=seed))

    def _set(self, passes: int) -> str | None:
        """The path of the passes, labelled."""
        cells = teachers(self.args)
        taught = [self.attempt(cell) for cell in cells]
        if None in taught:
            return None
        costs = {r["model"]: c.cost for r, c in zip(taught, cells, strict=True)}
        what = f"greedy choice of {len(costs)} teachers (the paper's: of 16)"
        words = ["ensemble", "--select", "greedy", "--teacher", *costs]
        published = paper.URBAN_1.value("ensemble", "accuracy")
        about = (what, sum(costs.values()), 0, published)
        joined = self.attempt(Cell("ensemble", words, *about))
        if joined is None:
            return None
        words = ["precompute", "--store", "replay", "--passes", passes]
        words += ["--teacher", joined["model"]]
        # A training takes about three times as many as an answer.
        cost = sum(costs[path] for path in joined["members"]) / 3
        made = self.attempt(Cell("passes", words, f"{passes} passes", cost, passes))
        return made and made["distillation_set"]

    def _train(self, wanted: Student) -> None:
        if found := self.attempt(wanted.cell()):
            self._done[wanted] = found

    def _best(self, wanted: Student) -> Student:
        """With the rates that are best on validation."""
        done = {
            each: found["val_accuracy"]
            for each, found in self._done.items()
            if replace(each, rates=wanted.rates) == wanted
        }
        return max(done, key=done.get, default=wanted)

    def _search(self, cells: Sequence[Student]) -> None:
        """Better rates for those of these, cheapest first, that are below the paper."""
        below = [
            cell
            for cell in cells
            if (found := self._done.get(cell))
            and 100 * found["test_accuracy"] < (cell.cell().published or 0)
        ]
        if not below:
            return
        trial = replace(below[0], passes=scaled(below[0].passes, 0.25), trial=True)
        for rates in RATES:
            self._train(replace(trial, rates=rates))
        for cell in below:
            self._train(replace(cell, rates=self._best(trial).rates))


def seconds(text: str) -> float:
    """Of "900", "15m" or "2h"."""
    unit = {"m": 60, "h": 3600}.get(text[-1:], 1)
    return float(text.rstrip("mhs")) * unit


def arguments() -> argparse.Namespace:
    """The parsed ones; `handed_on` are those that are not ours."""
    about = {"description": __doc__.splitlines()[0], "allow_abbrev": False}
    add = (made := argparse.ArgumentParser(**about)).add_argument
    add("--time-limit", type=seconds, required=True, metavar="15m")
    add("--workdir", default="runs/paper")
    add("--scale", type=float, default=1.0, help="of all epochs and passes")
    add("--teachers", type=int, default=5, help="fast ones")
    add("--published", action="store_true", help="the paper's three teachers, too")
    add("--budgets", nargs="*", default=[*paper.BUDGETS])
    add("--families", nargs="*", choices=paper.FAMILIES, default=[*paper.FAMILIES])
    add("--baselines", default="10M", metavar="BUDGET")
    add("--search-rates", action="store_true")
    add("--seeds", type=int, default=1, metavar="N", help="of each of --seed-cells")
    add("--seed-cells", nargs="*", default=["1M:convs-3", "10M:convs-4"])
    about = "a copy of the results (default: benchmarks/results/paper at full size)"
    add("--results", help=about)
    args, args.handed_on = made.parse_known_args()
    whole = args.scale == 1 and not {"--quick", "--dataset"} & {*args.handed_on}
    args.results = args.results or (RESULTS if whole else None)
    return args


def main() -> int:
    """Says at the end what is left, and what failed."""
    from engines import card

    args = arguments()
    args.device = card
    evidence = Evidence(args)
    # The time is over in the middle of a cell, too: it goes on next time.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, args.time_limit)
    with contextlib.suppress(KeyboardInterrupt):
        evidence.run()
    signal.setitimer(signal.ITIMER_REAL, 0)  # libraries may take long to end
    for what in ("failed", "left"):
        for each in getattr(evidence, what):
            print(f"{what}: {each}")
    return 1 if evidence.failed else 0


if __name__ == "__main__":
    sys.exit(main())
