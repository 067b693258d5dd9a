"""Published test errors of Furlanello et al. 2018, Tables 1 to 5 (fact sheet B9).

Percent, single runs. "/" in the paper, a run that was not made, is left out.
"""

from dataclasses import dataclass

TEACHER, LABELS = "teacher", "labels only"
LOSSES = {"ban": "BAN", "ban+l": "BAN+L", "cwtm": "CWTM", "dkpp": "DKPP"}


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


# Network: teacher, BAN.
_TABLE_1 = {
    "wide-resnet-28-1": (6.69, 6.64),
    "wide-resnet-28-2": (5.06, 4.86),
    "wide-resnet-28-5": (4.13, 4.03),
    "wide-resnet-28-10": (3.77, 3.86),
    "densenet-112-33": (3.84, 3.61),
    "densenet-90-60": (3.81, 3.5),
    "densenet-80-80": (3.48, 3.49),
    "densenet-80-120": (3.37, 3.54),
}
_COLUMNS_2 = "teacher BAN BAN+L CWTM DKPP BAN-1 BAN-2 BAN-3 Ens*2 Ens*3".split()
_TABLE_2 = {
    "densenet-112-33": "18.25 16.95 17.68 17.84 17.84 17.61 17.22 16.59 15.77 15.68",
    "densenet-90-60": "17.69 16.69 16.93 17.42 17.43 16.62 16.44 16.72 15.39 15.74",
    "densenet-80-80": "17.16 16.36 16.5 17.16 16.84 16.26 16.30 15.5 15.46 15.14",
    "densenet-80-120": "16.87 16.00 16.41 17.12 16.34 16.13 16.13 / 15.13 14.9",
}
# Network: teacher, BAN, DenseNet-90-60 as its student.
_TABLE_3 = {
    "wide-resnet-28-1": (30.05, 29.43, 24.93),
    "wide-resnet-28-2": (25.32, 24.38, 18.49),
    "wide-resnet-28-5": (20.88, 20.93, 17.52),
    "wide-resnet-28-10": (19.08, 18.25, 16.79),
}
_DENSE = "densenet-90-60"
_TABLE_4_TEACHER = 17.69
# (Depth factor, compression factor): BAN.
_TABLE_4 = {
    (0.5, 1): 16.95,
    (2, 1): 16.43,
    (3, 1): 16.64,
    (4, 1): 16.64,
    (1, 0.5): 19.83,
    (1, 0.75): 17.3,
    (1, 1.5): 18.89,
}
# Network: trained on labels only, BAN; the teacher is Table 4's.
_TABLE_5 = {
    "ban-pre-resnet-14-0.5": (20.28, 18.8),
    "ban-pre-resnet-14-1": (18.84, 17.39),
    "ban-wide-resnet-1-1": (20.4, 19.12),
    "ban-wide-resnet-2-1": (18.83, 17.42),
    "ban-wide-resnet-4-0.5": (19.63, 17.13),
    "ban-wide-resnet-4-1": (18.77, 17.18),
}


def rows() -> list[Published]:
    """All of them."""
    found = [
        Published(1, "cifar10", network, {TEACHER: teacher, "BAN": ban})
        for network, (teacher, ban) in _TABLE_1.items()
    ]
    for network, line in _TABLE_2.items():
        pairs = zip(_COLUMNS_2, line.split(), strict=True)
        errors = {column: float(error) for column, error in pairs if error != "/"}
        found.append(Published(2, "cifar100", network, errors))
    for network, (teacher, ban, dense) in _TABLE_3.items():
        same = {TEACHER: teacher, "BAN": ban}
        other = {TEACHER: teacher, "BAN": dense}
        found.append(Published(3, "cifar100", network, same))
        found.append(Published(3, "cifar100", _DENSE, other, teacher=network))
    for factors, ban in _TABLE_4.items():
        errors = {TEACHER: _TABLE_4_TEACHER, "BAN": ban}
        found.append(Published(4, "cifar100", _DENSE, errors, _DENSE, *factors))
    for network, (labels, ban) in _TABLE_5.items():
        errors = {TEACHER: _TABLE_4_TEACHER, LABELS: labels, "BAN": ban}
        found.append(Published(5, "cifar100", network, errors, teacher=_DENSE))
    return found


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
