"""A teacher that is good and cheap; not from the papers.

Urban's teachers take days on a CPU. This one is airbench94 (Jordan, "94% on CIFAR-10
in 3.29 Seconds on a Single GPU", 2024, arXiv:2404.00498) trained by Muon, with our
preprocessing and split: 40,000 images to learn from instead of 50,000.
"""

from dataclasses import replace

from kerasdistill.objectives import HardLabel
from kerasdistill.recipes.base import FastTeacher, FastTeacherRecipe, Shifts, Training


def teacher(*, epochs: int = 16) -> FastTeacherRecipe:
    """A teacher of 1.97M parameters; `benchmarks/results` says how good it gets."""
    return FastTeacherRecipe(
        architecture=FastTeacher(filters=(64, 256, 256)),
        training=Training(
            learning_rate=0.24,
            momentum=0.6,
            batch_size=2000,
            schedule="linear",
            epochs=epochs,
            optimizer="muon",
            objective=HardLabel(label_smoothing=0.2),
        ),
        augmentation=Shifts(),
    )


def quick(recipe: FastTeacherRecipe) -> FastTeacherRecipe:
    """The recipe for a few thousand images."""
    return replace(recipe, training=replace(recipe.training, epochs=8, batch_size=200))
