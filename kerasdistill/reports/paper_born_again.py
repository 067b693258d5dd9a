"""The rows of `paper`'s Born-Again tables, 1 to 5, as a chain of generations sees them.

Test errors in percent, single runs.
"""

from dataclasses import dataclass

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
    found = []
    for table, dataset in ((paper.BAN_1, "cifar10"), (paper.BAN_2, "cifar100")):
        number = int(table.name[-1])
        for row in table.rows:
            found.append(Published(number, dataset, row.key, _errors(table, row)))
    for row in paper.BAN_3.rows:
        teacher, ban, dense = row.values
        same = {TEACHER: teacher, "BAN": ban}
        other = {TEACHER: teacher, "BAN": dense}
        found.append(Published(3, "cifar100", row.key, same))
        found.append(Published(3, "cifar100", _DENSE, other, teacher=row.key))
    teacher = paper.BAN_4.value("teacher", "Error")
    for row in paper.BAN_4.rows[1:]:
        what, factor = row.key.split("-")
        factors = {f"{what}_factor": float(factor)}
        errors = {TEACHER: teacher, "BAN": row.values[0]}
        found.append(Published(4, "cifar100", _DENSE, errors, _DENSE, **factors))
    for row in paper.BAN_5.rows:
        labels, ban = row.values
        if ban is not None:  # one of them is no student
            errors = {TEACHER: teacher, LABELS: labels, "BAN": ban}
            found.append(Published(5, "cifar100", row.key, errors, teacher=_DENSE))
    return found


def _errors(table: paper.Table, row: paper.Row) -> dict[str, float]:
    """A row's values under our names of its columns."""
    pairs = zip(table.columns, row.values, strict=True)
    return {
        TEACHER if column == "Teacher" else column: value
        for column, value in pairs
        if value is not None
    }


def find(
    *,
    dataset: str,
    network: str,
    teacher: str | None,
    depth_factor: float = 1,
    compression_factor: float = 1,
) -> Published | None:
    """The row of this network, taught by its own kind (None) or another; or None."""
    wanted = (dataset, network, teacher, depth_factor, compression_factor)
    for row in rows():
        factors = (row.depth_factor, row.compression_factor)
        if (row.dataset, row.network, row.teacher, *factors) == wanted:
            return row
    return None
