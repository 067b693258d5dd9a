"""What `real_search.py` found, as JSON in results/ and as tables in README.md."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paired
import real_runs
import surrogate_runs
from tables import MARKS, RESULTS

from kerasdistill.files import write_atomic, write_json_atomic
from kerasdistill.runs import read_json

FILE, README = "real_search.json", Path(__file__).with_name("README.md")
COUNTS = (10, 20, 40)
Rows = Sequence[dict[str, Any]]


def write(real: Path, surrogates: Path) -> None:
    """Reads both logs; one that is not there leaves what `results/` has of it."""
    path = RESULTS / FILE
    found = read_json(path) if path.exists() else {}
    if pairs := real_runs.pairs(real):
        found["real"] = summary_of_pairs(pairs)
    if rows := list(surrogate_runs.rows(surrogates)):
        found["surrogates"] = summary_of_searches(rows)
    write_json_atomic(path, found)
    text = README.read_text()
    for name, made in (
        ("real searches", real_table(found.get("real"))),
        ("searches on surrogates", surrogate_table(found.get("surrogates", []))),
    ):
        begin, end = (mark.format(name) for mark in MARKS)
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}"
    write_atomic(README, text)


def summary_of_pairs(pairs: Rows) -> dict[str, Any]:
    """Of real searches: best validation accuracy so far, after 10 and 20 trials."""
    after = {}
    for count in COUNTS[:2]:
        ours, random = (
            [max(pair[name][:count]) for pair in pairs] for name in real_runs.SEARCHERS
        )
        after[str(count)] = {
            "gp": paired.median(ours),
            "random": paired.median(random),
            "gain": paired.gain(ours, random),
            "better": paired.chance(ours, random),
        }
    return {"pairs": list(pairs), "after": after}


def summary_of_searches(rows: Rows) -> list[dict[str, Any]]:
    """Of searches on surrogates, a row for each of these, searcher and number of
    trials: the expected accuracy of the recipe that measured best."""
    found = []
    for surrogate in dict.fromkeys(row["surrogate"] for row in rows):
        here = [row for row in rows if row["surrogate"] == surrogate]
        for name in surrogate_runs.NAMES:
            own = [row for row in here if row["searcher"] == name]
            for count in COUNTS:
                if scores := _scores(own, count):
                    found.append(
                        {
                            "surrogate": surrogate,
                            "searcher": name,
                            "trials": count,
                            "seeds": len(scores),
                            "median": paired.median([*scores.values()]),
                            **_against_random(scores, here, count),
                            "proposal_core_seconds": statistics.median(
                                row["proposal_core_seconds"] for row in own
                            ),
                        }
                    )
    return found


def _scores(rows: Rows, count: int) -> dict[int, float]:
    scores = {row["seed"]: surrogate_runs.published(row, count) for row in rows}
    return {seed: score for seed, score in scores.items() if score is not None}


def _against_random(scores: dict[int, float], here: Rows, count: int) -> dict[str, Any]:
    """Paired with random points of the same seed."""
    others = [row for row in here if row["searcher"] == "random"]
    random = _scores(others, count)
    both = sorted(scores.keys() & random.keys())
    ours, theirs = [scores[seed] for seed in both], [random[seed] for seed in both]
    return {"gain": paired.gain(ours, theirs), "better": paired.chance(ours, theirs)}


def real_table(found: dict[str, Any] | None) -> str:
    """Markdown."""
    if found is None:
        return "missing"
    count = len(found["pairs"])
    lines = [
        f"| {count} pairs, best validation accuracy | `gp` | `random` | paired gain, "
        "points | `gp` is better |",
        "|---|---|---|---|---|",
    ]
    for trials, row in found["after"].items():
        cells = [_points(row[name]) for name in ("gp", "random", "gain")]
        lines.append(
            f"| after {trials} trials | {' | '.join(cells)} | {_share(row['better'])} |"
        )
    return "\n".join(lines)


def surrogate_table(found: Rows) -> str:
    """Markdown, one table for each surrogate."""
    tables = []
    for surrogate in dict.fromkeys(row["surrogate"] for row in found):
        here = [row for row in found if row["surrogate"] == surrogate]
        lines = [
            f"Surrogate: {surrogate}.",
            "",
            "| searcher | seeds | "
            f"{' | '.join(f'{count} trials' for count in COUNTS)} | "
            "better than random at 20 | gain at 20, points | core-seconds a proposal |",
            "|---" * (5 + len(COUNTS)) + "|",
        ]
        for name in dict.fromkeys(row["searcher"] for row in here):
            own = {row["trials"]: row for row in here if row["searcher"] == name}
            cells = [_cell(own.get(count), "median", _points) for count in COUNTS]
            cells += [_cell(own.get(20), "better", _share)]
            cells += [_cell(own.get(20), "gain", _points)]
            seconds = next(iter(own.values()))["proposal_core_seconds"]
            seeds = own[min(own)]["seeds"]
            cells = " | ".join([name, str(seeds), *cells, f"{seconds:.3f}"])
            lines.append(f"| {cells} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables) or "missing"


def _cell(row: dict[str, Any] | None, name: str, shown: Callable) -> str:
    if row is None or (row["searcher"] == "random" and name != "median"):
        return ""
    return shown(row[name])


def _points(interval: Sequence[float]) -> str:
    """Fractions as percentages: 47.1 [46.5, 47.6]."""
    middle, low, high = (f"{100 * value:.1f}" for value in interval)
    return f"{middle} [{low}, {high}]"


def _share(interval: Sequence[float]) -> str:
    middle, low, high = (f"{value:.0%}" for value in interval)
    return f"{middle} [{low}, {high}]"
