"""Families of students under a budget, by their names.

A new family is a module here with its architecture and its recipe under a budget, one
in `models` that builds the network, and a line in each of two dicts: `FAMILIES` here
and in `models.build`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kerasdistill.recipes import base, urban2017


@dataclass(frozen=True)
class Family:
    """Students of one kind.

    Attributes:
        architecture: the frozen dataclass in their recipes.
        student: (*, budget, image_shape, num_classes) -> recipe within 1 % of the
            budget; UserError where there is none.
    """

    architecture: type
    student: Callable[..., base.StudentRecipe]


URBAN = "urban"  # also takes the shapes of his students, such as convs=3
FAMILIES: dict[str, Family] = {URBAN: Family(base.Student, urban2017.student)}
