"""The published numbers, as data: Urban et al. 2017 (Tables 1 and 2) and Furlanello
et al. 2018 (Tables 1 to 6). Fact sheet A7, A8 and B9; nothing here is measured."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["accuracy", "error", "perplexity"]
UNITS = {
    "accuracy": "test accuracy, %",
    "error": "test error, %",
    "perplexity": "perplexity",
}
URBAN = "Urban et al., ICLR 2017"
BAN = "Furlanello et al., ICML 2018"


@dataclass(frozen=True)
class Row:
    """A line of a table; a value is None where the paper prints none.

    `key` names the row in places (`Table.name`, `key`, column); `params` is the count
    as printed, corrected where it is a known slip; `quoted` is where the paper has the
    row from, if it is another's and no run of ours could fill it.
    """

    key: str
    label: str
    params: str
    values: tuple[float | None, ...]
    quoted: str | None = None


@dataclass(frozen=True)
class Table:
    """One printed table; `name` is what `reproduce` calls it."""

    name: str
    title: str
    source: str
    unit: Unit
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def value(self, key: str, column: str) -> float | None:
        """A printed value; KeyError for a row that the table has not."""
        row = {row.key: row for row in self.rows}[key]
        return row.values[self.columns.index(column)]


BUDGETS = {
    "1M": 1_000_000,
    "3.16M": 3_160_000,
    "10M": 10_000_000,
    "31.6M": 31_600_000,
}
TEACHERS = {  # filters of the three blocks, width of the dense layers
    "teacher-1": ((76, 126, 148), 1200),
    "teacher-2": ((96, 171, 128), 512),
    "teacher-3": ((54, 158, 189), 1044),
}
FAMILIES = {
    "hidden-1": "1 hidden layer, bottleneck",
    **{f"hidden-{count}": f"{count} hidden layers" for count in (2, 3, 4, 5)},
    "convs-1": "1 conv, 1 pool, bottleneck",
    "convs-2": "2 conv, 2 pool",
    "convs-3": "3 conv, 3 pool",
    "convs-4": "4 conv, 3 pool",
}
ONE = ("accuracy",)
SNN = "snn"  # the row of Table 2 that is none of the families
_BA = "Ba & Caruana (2014)"

URBAN_1 = Table(
    name="urban-table-1",
    title="Table 1: trained on 0/1 labels (CIFAR-10)",
    source=URBAN,
    unit="accuracy",
    columns=ONE,
    rows=(
        Row("convs-1", "1 conv, c-mp-lfc-fc", "10M", (84.6,)),
        Row("convs-2", "2 conv, c-mp-c-mp-fc", "10M", (88.9,)),
        Row("convs-3", "3 conv, c-mp-c-mp-c-mp-fc", "10M", (91.2,)),
        Row("convs-4", "4 conv, c-mp-c-c-mp-c-mp-fc", "10M", (91.75,)),
        Row("teacher-1", "Teacher 1st, 76-126-148-1200", "5.3M", (92.78,)),
        Row("teacher-2", "Teacher 2nd, 96-171-128-512", "2.5M", (92.77,)),
        Row("teacher-3", "Teacher 3rd, 54-158-189-1044", "5.8M", (92.67,)),
        Row("ensemble", "Ensemble of 16 CNNs", "83.4M", (93.8,)),
        Row("ba-teacher", "Ba & Caruana's teacher", "2.1M", (88.0,), _BA),
        Row("ba-ensemble", "Ba & Caruana's ensemble of 4", "8.6M", (89.0,), _BA),
    ),
)

_STUDENTS = {
    "hidden-1": (65.8, 68.2, 69.5, 70.2),
    "hidden-2": (66.2, 70.9, 73.4, 74.3),
    "hidden-3": (66.8, 71.0, 73.0, 73.9),
    "hidden-4": (66.7, 69.5, 71.6, 72.0),
    "hidden-5": (66.4, 70.0, 71.4, 71.5),
    "convs-1": (84.5, 86.3, 87.3, 87.7),
    "convs-2": (87.9, 89.3, 90.0, 90.3),
    "convs-3": (90.7, 91.6, 91.9, 92.3),
    "convs-4": (91.3, 91.8, 92.6, 92.6),
}
URBAN_2 = Table(
    name="urban-table-2",
    title="Table 2: students on the ensemble's logits (CIFAR-10)",
    source=URBAN,
    unit="accuracy",
    columns=(*BUDGETS, "70M"),
    rows=(
        *(
            Row(key, FAMILIES[key], "", (*values, None))
            for key, values in _STUDENTS.items()
        ),
        Row(SNN, "SNN-ECNN-MIMIC-30k 128c-p-1200L-30k", "", (*[None] * 4, 85.8)),
    ),
)

BAN_1 = Table(
    name="ban-table-1",
    title="Table 1: CIFAR-10",
    source=BAN,
    unit="error",
    columns=("Teacher", "BAN"),
    rows=(
        Row("wide-resnet-28-1", "Wide-ResNet-28-1", "0.38M", (6.69, 6.64)),
        Row("wide-resnet-28-2", "Wide-ResNet-28-2", "1.48M", (5.06, 4.86)),
        Row("wide-resnet-28-5", "Wide-ResNet-28-5", "9.16M", (4.13, 4.03)),
        Row("wide-resnet-28-10", "Wide-ResNet-28-10", "36M", (3.77, 3.86)),
        Row("densenet-112-33", "DenseNet-112-33", "6.3M", (3.84, 3.61)),
        Row("densenet-90-60", "DenseNet-90-60", "16.1M", (3.81, 3.5)),
        Row("densenet-80-80", "DenseNet-80-80", "22.4M", (3.48, 3.49)),
        Row("densenet-80-120", "DenseNet-80-120", "50.4M", (3.37, 3.54)),
    ),
)

BAN_2 = Table(
    name="ban-table-2",
    title="Table 2: DenseNets on CIFAR-100",
    source=BAN,
    unit="error",
    columns=(
        "Teacher",
        *("BAN", "BAN+L", "CWTM", "DKPP"),
        *("BAN-1", "BAN-2", "BAN-3", "Ens*2", "Ens*3"),
    ),
    rows=(
        Row(
            "densenet-112-33",
            "DenseNet-112-33",
            "6.3M",
            (18.25, 16.95, 17.68, 17.84, 17.84, 17.61, 17.22, 16.59, 15.77, 15.68),
        ),
        Row(
            "densenet-90-60",
            "DenseNet-90-60",
            "16.1M",
            (17.69, 16.69, 16.93, 17.42, 17.43, 16.62, 16.44, 16.72, 15.39, 15.74),
        ),
        Row(
            "densenet-80-80",
            "DenseNet-80-80",
            "22.4M",
            (17.16, 16.36, 16.5, 17.16, 16.84, 16.26, 16.30, 15.5, 15.46, 15.14),
        ),
        Row(
            "densenet-80-120",
            "DenseNet-80-120",
            "50.4M",
            (16.87, 16.00, 16.41, 17.12, 16.34, 16.13, 16.13, None, 15.13, 14.9),
        ),
    ),
)

BAN_3 = Table(
    name="ban-table-3",
    title="Table 3: Wide-ResNet teachers and a DenseNet student (CIFAR-100)",
    source=BAN,
    unit="error",
    columns=("Teacher", "BAN", "Dense-90-60"),
    rows=(
        Row("wide-resnet-28-1", "Wide-ResNet-28-1", "0.38M", (30.05, 29.43, 24.93)),
        Row("wide-resnet-28-2", "Wide-ResNet-28-2", "1.48M", (25.32, 24.38, 18.49)),
        Row("wide-resnet-28-5", "Wide-ResNet-28-5", "9.16M", (20.88, 20.93, 17.52)),
        Row("wide-resnet-28-10", "Wide-ResNet-28-10", "36M", (19.08, 18.25, 16.79)),
    ),
)

BAN_4 = Table(
    name="ban-table-4",
    title="Table 4: students of a DenseNet-90-60, depth and compression (CIFAR-100)",
    source=BAN,
    unit="error",
    columns=("Error",),
    rows=(
        Row("teacher", "Teacher DenseNet-90-60", "16.1M", (17.69,)),
        Row("depth-0.5", "0.5*Depth", "21.2M", (16.95,)),
        Row("depth-2", "2*Depth", "13.7M", (16.43,)),
        Row("depth-3", "3*Depth", "12.9M", (16.64,)),
        Row("depth-4", "4*Depth", "12.6M", (16.64,)),
        Row("compression-0.5", "0.5*Compression", "5.1M", (19.83,)),
        Row("compression-0.75", "0.75*Compression", "10.1M", (17.3,)),
        Row("compression-1.5", "1.5*Compression", "80.5M", (18.89,)),
    ),
)

BAN_5 = Table(
    name="ban-table-5",
    title="Table 5: residual students of a DenseNet-90-60 (CIFAR-100)",
    source=BAN,
    unit="error",
    columns=("Baseline", "BAN"),
    rows=(
        Row(
            "pre-resnet-1001",
            "Pre-activation ResNet-1001",
            "10.2M",
            (22.71, None),
            quoted="He et al. (2016)",
        ),
        Row("ban-pre-resnet-14-0.5", "BAN-Pre-ResNet-14-0.5", "7.3M", (20.28, 18.8)),
        Row("ban-pre-resnet-14-1", "BAN-Pre-ResNet-14-1", "17.7M", (18.84, 17.39)),
        Row("ban-wide-resnet-1-1", "BAN-Wide-ResNet-1-1", "20.9M", (20.4, 19.12)),
        Row("ban-wide-resnet-2-1", "BAN-Match-Wide-2-1", "43.1M", (18.83, 17.42)),
        Row("ban-wide-resnet-4-0.5", "BAN-Wide-ResNet-4-0.5", "24.3M", (19.63, 17.13)),
        Row("ban-wide-resnet-4-1", "BAN-Wide-ResNet-4-1", "87.3M", (18.77, 17.18)),
    ),
)

BAN_6 = Table(
    name="ban-table-6",
    title="Table 6: Penn Treebank (students learn with BAN+L)",
    source=BAN,
    unit="perplexity",
    columns=("Teacher val", "BAN val", "Teacher test", "BAN test"),
    rows=(
        Row("cnn-lstm", "ConvLSTM", "19M", (83.69, 80.27, 80.05, 76.97)),
        Row("lstm", "LSTM", "52M", (75.11, 71.19, 71.87, 68.56)),
    ),
)

TABLES = (URBAN_1, URBAN_2, BAN_1, BAN_2, BAN_3, BAN_4, BAN_5, BAN_6)
