"""Reports as text for people."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

_BLOCKS = "▁▂▃▄▅▆▇█"
MISSING = "missing"  # what was not measured, or is not there to compare with
THIRDS = ("low", "middle", "high")  # of a searched range
_BAR = 24  # characters of the longest bar


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need; the first to the left, the others to the right."""
    cells = [list(heads), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def finite(value: Any) -> float | None:
    """The number, or None for what is none."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def number(value: Any) -> str:
    """Four digits of a fraction; whole numbers and words as they are."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def sparkline(values: Sequence[float]) -> str:
    """One block a value, from the lowest to the highest of them."""
    low, high = min(values), max(values)
    top = len(_BLOCKS) - 1
    spread = (high - low) or 1.0
    return "".join(_BLOCKS[round(top * (each - low) / spread)] for each in values)


def searches(described: Sequence[dict[str, Any]]) -> str:
    """One or several searches, as `search.describe` gives them."""
    lines: list[str] = []
    for each in described:
        lines += _search(each) + [""]
    if len(described) > 1:
        scores = ("best", "fifth_best", "mean_of_five_best")
        rows = [
            [f"{each['oracle']} {each['path']}", str(each["completed"])]
            + [percent(each[score]) for score in scores]
            for each in described
        ]
        heads = ["search", "trials", "best", "fifth best", "mean of five"]
        lines += table(heads, rows)
    return "\n".join(lines).rstrip()


def _search(search: dict[str, Any]) -> list[str]:
    lines = [
        f"{search['path']}: {search['completed']} of {search['max_trials']} trials "
        f"completed, {search['failed']} failed, {search['seconds'] / 3600:.2f} h; "
        f"oracle {search['oracle']}, seed {number(search['seed'])}"
    ]
    if not search["completed"]:
        return lines + ["no trial has completed yet"]
    objective = search["objective"]
    lines += [
        f"{objective}: best {percent(search['best'])}, "
        f"fifth best {percent(search['fifth_best'])}, "
        f"mean of the five best {percent(search['mean_of_five_best'])}",
        "",
        *_top(search),
        "",
        "best so far  " + sparkline([each["best"] for each in search["best_so_far"]]),
        *_steps(search),
        "",
        *_dimensions(search),
    ]
    if search["fixed"]:
        pairs = (f"{name}={number(value)}" for name, value in search["fixed"].items())
        lines += ["fixed: " + ", ".join(pairs)]
    if search["length_scales"]:
        lines += ["", *_length_scales(search["length_scales"])]
    return lines


def _top(search: dict[str, Any]) -> list[str]:
    """The best trials as columns: a space has more dimensions than a line has room."""
    top, objective = search["top"], search["objective"]
    rows = [[objective, *(percent(each[objective]) for each in top)]]
    for key in ("num_params", "best_epoch", "epochs", "seconds"):
        rows.append([key, *(number(each[key]) for each in top)])
    for name in top[0]["values"]:
        rows.append([name, *(number(each["values"].get(name)) for each in top)])
    return table(["best trials", *(f"#{each['number']}" for each in top)], rows)


def _steps(search: dict[str, Any]) -> list[str]:
    steps = itertools.groupby(search["best_so_far"], key=lambda each: each["best"])
    rows = [[f"#{next(same)['number']}", percent(best)] for best, same in steps]
    return table(["trial", "best"], rows)


def _dimensions(search: dict[str, Any]) -> list[str]:
    heads = ["dimension", "range", "scale", "rank corr.", "best at"]
    heads += ["low third", "middle", "high third"]  # medians: some trials go wrong
    rows, choices = [], []
    for each in search["dimensions"]:
        groups, correlation = each["groups"], each["rank_correlation"]
        if each["kind"] == "choice":
            medians = (
                f"{name} {percent(group['median'])} ({group['trials']})"
                for name, group in groups.items()
            )
            choices.append(f"{each['name']}: " + ", ".join(medians))
            continue
        thirds = (groups.get(name, {}).get("median") for name in THIRDS)
        rows.append(
            [
                each["name"],
                f"{number(each['low'])} to {number(each['high'])}",
                each["scale"],
                "-" if correlation is None else f"{correlation:+.2f}",
                number(each["best_value"]),
                *map(percent, thirds),
            ]
        )
    return table(heads, rows) + choices


def _length_scales(scales: dict[str, float]) -> list[str]:
    longest = max(scales.values())
    rows = sorted(scales.items(), key=lambda item: item[1])
    width = max(map(len, scales))
    return ["length scales (short: the objective changes fast along it)"] + [
        f"{name:<{width}}  {value:8.3g}  {'#' * max(1, round(_BAR * value / longest))}"
        for name, value in rows
    ]
