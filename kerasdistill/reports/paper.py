"""The published numbers, as data: Urban et al. 2017 (Tables 1 and 2) and Furlanello
et al. 2018 (Tables 1 to 6); nothing here is measured."""

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


BUDGETS = {"1M": 1_000_000, "3.16M": 3_160_000, "10M": 10_000_000, "31.6M": 31_600_000}
TEACHERS = {  # filters of the three blocks, width of the dense layers
    "teacher-1": ((76, 126, 148), 1200),
    "teacher-2": ((96, 171, 128), 512),
    "teacher-3": ((54, 158, 189), 1044),
}
ONE = ("accuracy",)
SNN = "snn"  # the row of Table 2 that is none of the families


def _table(text: str) -> Table:
    """A table from lines of cells: "name | title", "unit | columns", then for each row
    "label | params | values | key | quoted", "-" where the paper prints no value; a
    key that is left out is the label in small letters."""
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    (name, title), (unit, *columns), *cells = lines[1:]
    rows = []
    for label, params, printed, *rest in cells:
        values = tuple(None if v == "-" else float(v) for v in printed.split())
        key, quoted = [*rest, None, None][:2]
        rows.append(Row(key or label.lower(), label, params, values, quoted))
    source = URBAN if name.startswith("urban") else BAN
    return Table(name, title, source, unit, tuple(columns), tuple(rows))


URBAN_1 = _table("""
    urban-table-1 | Table 1: trained on 0/1 labels (CIFAR-10)
    accuracy | accuracy
    1 conv, c-mp-lfc-fc          | 10M   | 84.6  | convs-1
    2 conv, c-mp-c-mp-fc         | 10M   | 88.9  | convs-2
    3 conv, c-mp-c-mp-c-mp-fc    | 10M   | 91.2  | convs-3
    4 conv, c-mp-c-c-mp-c-mp-fc  | 10M   | 91.75 | convs-4
    Teacher 1st, 76-126-148-1200 | 5.3M  | 92.78 | teacher-1
    Teacher 2nd, 96-171-128-512  | 2.5M  | 92.77 | teacher-2
    Teacher 3rd, 54-158-189-1044 | 5.8M  | 92.67 | teacher-3
    Ensemble of 16 CNNs          | 83.4M | 93.8  | ensemble
    Ba & Caruana's teacher       | 2.1M  | 88.0  | ba-teacher | Ba & Caruana (2014)
    Ba & Caruana's ensemble of 4 | 8.6M  | 89.0  | ba-ensemble | Ba & Caruana (2014)""")

URBAN_2 = _table("""
    urban-table-2 | Table 2: students on the ensemble's logits (CIFAR-10)
    accuracy | 1M | 3.16M | 10M | 31.6M | 70M
    1 hidden layer, bottleneck          | | 65.8 68.2 69.5 70.2 -    | hidden-1
    2 hidden layers                     | | 66.2 70.9 73.4 74.3 -    | hidden-2
    3 hidden layers                     | | 66.8 71.0 73.0 73.9 -    | hidden-3
    4 hidden layers                     | | 66.7 69.5 71.6 72.0 -    | hidden-4
    5 hidden layers                     | | 66.4 70.0 71.4 71.5 -    | hidden-5
    1 conv, 1 pool, bottleneck          | | 84.5 86.3 87.3 87.7 -    | convs-1
    2 conv, 2 pool                      | | 87.9 89.3 90.0 90.3 -    | convs-2
    3 conv, 3 pool                      | | 90.7 91.6 91.9 92.3 -    | convs-3
    4 conv, 3 pool                      | | 91.3 91.8 92.6 92.6 -    | convs-4
    SNN-ECNN-MIMIC-30k 128c-p-1200L-30k | | -    -    -    -    85.8 | snn""")
FAMILIES = {row.key: row.label for row in URBAN_2.rows if row.key != SNN}

BAN_1 = _table("""
    ban-table-1 | Table 1: CIFAR-10
    error | Teacher | BAN
    Wide-ResNet-28-1  | 0.38M | 6.69 6.64
    Wide-ResNet-28-2  | 1.48M | 5.06 4.86
    Wide-ResNet-28-5  | 9.16M | 4.13 4.03
    Wide-ResNet-28-10 | 36M   | 3.77 3.86
    DenseNet-112-33   | 6.3M  | 3.84 3.61
    DenseNet-90-60    | 16.1M | 3.81 3.5
    DenseNet-80-80    | 22.4M | 3.48 3.49
    DenseNet-80-120   | 50.4M | 3.37 3.54""")

BAN_2 = _table("""
    ban-table-2 | Table 2: DenseNets on CIFAR-100
    error | Teacher | BAN | BAN+L | CWTM | DKPP | BAN-1 | BAN-2 | BAN-3 | Ens*2 | Ens*3
    DenseNet-112-33|6.3M | 18.25 16.95 17.68 17.84 17.84 17.61 17.22 16.59 15.77 15.68
    DenseNet-90-60 |16.1M| 17.69 16.69 16.93 17.42 17.43 16.62 16.44 16.72 15.39 15.74
    DenseNet-80-80 |22.4M| 17.16 16.36 16.5  17.16 16.84 16.26 16.30 15.5  15.46 15.14
    DenseNet-80-120|50.4M| 16.87 16.00 16.41 17.12 16.34 16.13 16.13 - 15.13 14.9""")

BAN_3 = _table("""
    ban-table-3 | Table 3: Wide-ResNet teachers and a DenseNet student (CIFAR-100)
    error | Teacher | BAN | Dense-90-60
    Wide-ResNet-28-1  | 0.38M | 30.05 29.43 24.93
    Wide-ResNet-28-2  | 1.48M | 25.32 24.38 18.49
    Wide-ResNet-28-5  | 9.16M | 20.88 20.93 17.52
    Wide-ResNet-28-10 | 36M   | 19.08 18.25 16.79""")

BAN_4 = _table("""
    ban-table-4|Table 4: students of a DenseNet-90-60, depth and compression (CIFAR-100)
    error | Error
    Teacher DenseNet-90-60 | 16.1M | 17.69 | teacher
    0.5*Depth              | 21.2M | 16.95 | depth-0.5
    2*Depth                | 13.7M | 16.43 | depth-2
    3*Depth                | 12.9M | 16.64 | depth-3
    4*Depth                | 12.6M | 16.64 | depth-4
    0.5*Compression        | 5.1M  | 19.83 | compression-0.5
    0.75*Compression       | 10.1M | 17.3  | compression-0.75
    1.5*Compression        | 80.5M | 18.89 | compression-1.5""")

BAN_5 = _table("""
    ban-table-5 | Table 5: residual students of a DenseNet-90-60 (CIFAR-100)
    error | Baseline | BAN
    Pre-activation ResNet-1001 | 10.2M | 22.71 - | pre-resnet-1001 | He et al. (2016)
    BAN-Pre-ResNet-14-0.5      | 7.3M  | 20.28 18.8
    BAN-Pre-ResNet-14-1        | 17.7M | 18.84 17.39
    BAN-Wide-ResNet-1-1        | 20.9M | 20.4  19.12
    BAN-Match-Wide-2-1         | 43.1M | 18.83 17.42 | ban-wide-resnet-2-1
    BAN-Wide-ResNet-4-0.5      | 24.3M | 19.63 17.13
    BAN-Wide-ResNet-4-1        | 87.3M | 18.77 17.18""")

BAN_6 = _table("""
    ban-table-6 | Table 6: Penn Treebank (students learn with BAN+L)
    perplexity | Teacher val | BAN val | Teacher test | BAN test
    ConvLSTM | 19M | 83.69 80.27 80.05 76.97 | cnn-lstm
    LSTM     | 52M | 75.11 71.19 71.87 68.56""")

TABLES = (URBAN_1, URBAN_2, BAN_1, BAN_2, BAN_3, BAN_4, BAN_5, BAN_6)
