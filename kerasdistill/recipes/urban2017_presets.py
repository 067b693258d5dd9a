"""Named students that no budget leads to (docs/papers/urban2017.md)."""

from kerasdistill.budget import Budget
from kerasdistill.recipes import urban2017
from kerasdistill.recipes.base import Student, StudentRecipe


def snn_ecnn_mimic_30k() -> StudentRecipe:
    """Ba & Caruana's shallow net 128c-p-1200L-30k, Table 2's last row: 85.8 %.

    70,900,938 parameters on CIFAR-10: the paper prints 70M and no geometry; 128 5x5
    filters and a 3x3 pooling of stride 2 (15x15 are left) are what comes to it. It is
    trained as our `student` is.
    """
    like = urban2017.student(budget=Budget(1_000_000), convs=1)
    architecture = Student(
        filters=(128,), hidden=(30_000,), bottleneck=1200, pool=3, pool_stride=2
    )
    return StudentRecipe(architecture, like.training, like.augmentation)


PRESETS = {"snn-ecnn-mimic-30k": snn_ecnn_mimic_30k}
