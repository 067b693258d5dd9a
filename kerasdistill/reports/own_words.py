"""A row of `own.rows` in words."""

from collections.abc import Iterator, Mapping
from typing import Any


def score(row: Mapping[str, Any] | None, split: str) -> str:
    """Such as "96.94 %", "perplexity 131.20" or "-"; of a row, teacher or baseline."""
    row = row or {}
    if (accuracy := row.get(f"{split}_accuracy")) is not None:
        return f"{100 * accuracy:.2f} %"
    if (perplexity := row.get(f"{split}_perplexity")) is not None:
        return f"perplexity {perplexity:.2f}"
    return "-"


def best_score(row: Mapping[str, Any] | None) -> str:
    """On test, or validation where test was never looked at."""
    on_test = score(row, "test")
    return score(row, "val") if on_test == "-" else on_test


HEADS = ("run", "data set", "validation", "test", "weights", "size")
HEADS += ("teacher", "its score", "labels alone", "agreement")


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row for people, as `HEADS` say."""
    agreement, count = row["teacher_agreement"], row["num_params"]
    teacher = row["teacher"]
    return [
        row["readable_name"],
        row["dataset"] or "-",
        score(row, "val"),
        score(row, "test"),
        "-" if count is None else f"{count:,}",
        "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB",
        (teacher or {}).get("readable_name") or "-",
        best_score(teacher),
        best_score(row["baseline"]),
        "-" if agreement is None else f"{100 * agreement:.2f} %",
    ]


def what(row: Mapping[str, Any]) -> Iterator[str]:
    """A run in sentences."""
    network = f", {row['network']}" if row["network"] else ""
    on = f" on {row['dataset']}" if row["dataset"] else ""
    yield f"{row['kind']}{network}{on}"
    if row["members"]:
        yield f"members: {', '.join(row['members'])}"
    if best_score(row) != "-":
        yield f"test {score(row, 'test')}, validation {score(row, 'val')}"
    if (teacher := row["teacher"]) is not None:
        who = teacher["readable_name"] or "its teacher"
        yield f"learned from {who}: {best_score(teacher)}"
    if (twin := row["baseline"]) is not None:
        yield f"on labels alone, {twin['readable_name']}: {best_score(twin)}"
