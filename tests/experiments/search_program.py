"""Searches with tiny networks, which the tests share; as a program, one to be killed.

python search_program.py FOLDER
"""

import dataclasses
import sys

from kerasdistill.budget import Budget
from kerasdistill.experiments.search import families
from kerasdistill.experiments.search import story as search
from kerasdistill.experiments.search.definition import Search
from kerasdistill.recipes.base import Augmentation
from pipelines import datasets
from tuners import record, spaces

BUDGET = Budget(5_000)
SHAPE = {"convs": 2, "kernel": 3}
AUGMENTATION = Augmentation(min_crop=6)


def finish(recipe, *, epochs=2, seed=0):
    """Two quick epochs of 8x8 images."""
    settings = {"schedule": "cosine", "epochs": epochs, "batch_size": 16, "seed": seed}
    augmentation = dataclasses.replace(recipe.augmentation, min_crop=6)
    return dataclasses.replace(
        recipe,
        training=dataclasses.replace(recipe.training, **settings),
        augmentation=augmentation,
    )


def asked(kind="baseline", **changes) -> Search:
    geometry = {"image_shape": (8, 8, 3), "num_classes": 3}
    families = {"baseline": spaces.baseline, "student": spaces.student}
    make = families.get(kind, spaces.baseline)
    space = make(budget=BUDGET, **SHAPE, **geometry)
    settings = {
        "kind": kind,
        "space": space,
        "finish": finish,
        "family": {"budget": BUDGET.num_params, **SHAPE},
        "max_trials": 3,
        "oracle": "random",
    }
    return Search(**{**settings, **changes})


def run(data, workdir, **changes):
    return search.run(families.on_labels(asked(**changes), data=data, workdir=workdir))


def outcomes(folder):
    return [
        (t["number"], t["values"], t.get("val_accuracy"), t.get("best_epoch"))
        for t in record.trials(folder)
    ]


def main(workdir: str) -> None:
    """The killed process: a search on digits, a baseline's epoch of about a second."""
    data = datasets.load("digits", quick=True)
    space = spaces.baseline(budget=Budget(20_000), **SHAPE, num_classes=10)
    shared = {"family": {}, "max_trials": 5, "oracle": "gp"}
    wanted = Search(kind="baseline", space=space, finish=finish, **shared)
    search.run(families.on_labels(wanted, data=data, workdir=workdir))


if __name__ == "__main__":
    main(sys.argv[1])
