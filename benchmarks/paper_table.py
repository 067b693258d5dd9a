"""What `paper.py` measured beside the first paper's figures.

    python benchmarks/paper_table.py                # results/paper -> README.md here
    python benchmarks/paper_table.py FOLDER         # prints those of another folder

A cell has the learning rate and the momentum that are best on validation, and the mean
of all seeds with these.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from tables import spread

from kerasdistill.files import write_atomic
from kerasdistill.runs import read_json

HERE = Path(__file__).resolve().parent
MARKS = "<!-- paper: generated -->", "<!-- paper: end -->"
KINDS = ("teacher", "ensemble", "precompute", "baseline", "student")
HEADS = "cell | parameters | paper's test | test | validation | rate, momentum "
HEADS += "| epochs | training, s | in all, s | engine, device"


def table(folder: Path) -> str:
    """Markdown, a line for each cell."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.json")):
        found = read_json(file)
        if not found.get("trial"):
            cells.setdefault((found["kind"], found["what"]), []).append(found)
    lines = [f"| {HEADS} |", "|---" * (HEADS.count("|") + 1) + "|"]
    costs = {what: rows[0]["multiply_adds"] for what, rows in cells.items()}
    for kind in KINDS:
        mine = sorted((each for each in cells if each[0] == kind), key=costs.get)
        lines += [_line(best(cells[each])) for each in mine]
    return "\n".join(lines)


def best(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All seeds of the rates whose first seed is best on validation."""
    begun = [each for each in found if not each.get("seed")]
    first = max(begun or found, key=lambda each: each.get("val_accuracy") or 0)
    return [each for each in found if each.get("rates") == first.get("rates")]


def _line(found: Sequence[dict[str, Any]]) -> str:
    first, environment = found[0], found[0]["environment"]

    def each(name: str, show: Callable[[list], str]) -> str:
        return show([row[name] for row in found]) if first.get(name) else ""

    verb = f"{first['kind']}: " * (first["kind"] in ("student", "baseline"))
    cells = [
        verb + first["what"],
        each("num_params", lambda counts: f"{counts[0]:,}"),
        str(first["published"] or ""),
        each("test_accuracy", spread),
        each("val_accuracy", spread),
        ", ".join(f"{value:g}" for value in first.get("rates", ())),
        str(first.get("epochs", "")),
        each("seconds", lambda seconds: f"{mean(seconds):,.0f}"),
        each("wall_seconds", lambda seconds: f"{mean(seconds):,.0f}"),
        f"{environment['backend']}, {environment['device']}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints it, or replaces what stands between the markers in README.md."""
    if sys.argv[1:]:
        print(table(Path(sys.argv[1])))
        return
    page, (begin, end) = HERE / "README.md", MARKS
    before, rest = page.read_text().split(begin)
    made = table(HERE / "results" / "paper")
    write_atomic(page, f"{before}{begin}\n{made}\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
