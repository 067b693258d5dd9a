"""The rows of `paper`'s Born-Again tables, 1 to 5, as a chain of generations sees them.

Test errors in percent, single runs.
"""

from dataclasses import dataclass
from typing import Any

from kerasdistill.reports import paper

TEACHER, LABELS = "teacher", "labels only"
LOSSES = {"ban": "BAN", "ban+l": "BAN+L", "cwtm": "CWTM", "dkpp": "DKPP"}
STUDENTS = {**LOSSES, "hard-label": LABELS}


@dataclass(frozen=True)
class Published:
    """A row of a table: `errors` by column, `teacher` if it is another network."""

    table: int
    dataset: str
    network: str
    errors: dict[str, float]
    teacher: str | None = None
    depth_factor: float = 1
    compression_factor: float = 1


_DENSE = "densenet-90-60"


def rows() -> list[Published]:
    """All of them."""
    published = []
    for table, dataset in ((paper.BAN_1, "cifar10"), (paper.BAN_2, "cifar100")):
        for row in table.rows:
            cells = zip((TEACHER, *table.columns[1:]), row.values, strict=True)
            errors = {column: value for column, value in cells if value is not None}
            number = int(table.name[-1])
            published.append(Published(number, dataset, row.key, errors))
    for row in paper.BAN_3.rows:
        teacher, ban, dense = row.values
        same = {TEACHER: teacher, "BAN": ban}
        other = {TEACHER: teacher, "BAN": dense}
        published.append(Published(3, "cifar100", row.key, same))
        published.append(Published(3, "cifar100", _DENSE, other, teacher=row.key))
    teacher = paper.BAN_4.value("teacher", "Error")
    for row in paper.BAN_4.rows[1:]:
        what, factor = row.key.split("-")
        factors = {f"{what}_factor": float(factor)}
        errors = {TEACHER: teacher, "BAN": row.values[0]}
        published.append(Published(4, "cifar100", _DENSE, errors, _DENSE, **factors))
    for row in paper.BAN_5.rows:
        labels, ban = row.values
        if ban is not None:  # one of them is no student
            errors = {TEACHER: teacher, LABELS: labels, "BAN": ban}
            published.append(Published(5, "cifar100", row.key, errors, teacher=_DENSE))
    return published


def find(**networks: Any) -> Published | None:
    """The row with these fields of `Published`, or None; no teacher is its own kind."""
    wanted = {"teacher": None, "depth_factor": 1, "compression_factor": 1, **networks}
    for row in rows():
        if all(getattr(row, name) == value for name, value in wanted.items()):
            return row
    return None
