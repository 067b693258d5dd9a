"""Recipes of Urban et al., "Do Deep Convolutional Nets Really Need to be Deep and
Convolutional?", ICLR 2017 (CIFAR-10; the same formulas serve other class counts).

Test accuracy in percent, Tables 1 and 2:

    on logits of the ensemble     1M    3.16M   10M    31.6M   baseline 10M
    1 hidden layer, bottleneck    65.8  68.2    69.5   70.2    -
    2 hidden layers               66.2  70.9    73.4   74.3    -
    3 hidden layers               66.8  71.0    73.0   73.9    -
    4 hidden layers               66.7  69.5    71.6   72.0    -
    5 hidden layers               66.4  70.0    71.4   71.5    -
    1 convolution, bottleneck     84.5  86.3    87.3   87.7    84.6
    2 convolutions                87.9  89.3    90.0   90.3    88.9
    3 convolutions                90.7  91.6    91.9   92.3    91.2
    4 convolutions                91.3  91.8    92.6   92.6    91.75

The paper found every row by Bayesian optimisation and prints no single winner but
the three best teachers' widths. What these functions return are points inside its
ranges (`urban2017_bounds`), not its winners.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from kerasdistill.budget import POOLED_AFTER, Budget, ImageShape
from kerasdistill.errors import UserError
from kerasdistill.objectives import LogitRegression
from kerasdistill.recipes import urban2017_bounds
from kerasdistill.recipes.base import (
    Augmentation,
    CnnTeacher,
    GivenNetwork,
    GivenStudentRecipe,
    Student,
    StudentRecipe,
    TeacherRecipe,
    Training,
    WidthRule,
)
from kerasdistill.recipes.urban2017_bounds import WidthBounds, student_widths

CIFAR_SHAPE = (32, 32, 3)
_STUDENT_TRAINING = Training(
    learning_rate=0.003, momentum=0.9, objective=LogitRegression(), clip_norm=30.0
)
QUICK_EPOCHS = 24

# Widths (filters of the three blocks, fully connected) of the three best teachers.
PUBLISHED_TEACHERS = (
    ((76, 126, 148), 1200),
    ((96, 171, 128), 512),
    ((54, 158, 189), 1044),
)


def teacher(published: int = 1) -> TeacherRecipe:
    """The best, second or third best published teacher (Table 1).

    5,339,350 parameters and 92.78 % test accuracy; 2,453,729 and 92.77 %;
    5,823,101 and 92.67 %.

    Raises:
        UserError: published is not 1, 2 or 3.
    """
    if published not in (1, 2, 3):
        raise UserError(f"published teacher {published} is unknown; expected 1, 2 or 3")
    filters, dense = PUBLISHED_TEACHERS[published - 1]
    return teacher_of(filters=filters, dense=dense)


def teacher_of(*, filters: Sequence[int], dense: int) -> TeacherRecipe:
    """A teacher c^2-mp-c^2-mp-c^4-mp-fc^2 with the given widths.

    Hyperparameters lie inside the paper's ranges (docs/papers/urban2017.md). Batch
    size 128 is ours: the paper gives none.

    Raises:
        UserError: not three filter counts, or a width below 1.
    """
    if len(filters) != 3 or min(*filters, dense) < 1:
        raise UserError(
            f"teacher widths {tuple(filters)} and {dense} are not possible; expected "
            "three filter counts and one dense width, such as 76,126,148 and 1200"
        )
    return TeacherRecipe(
        architecture=CnnTeacher(
            filters=tuple(filters),
            dense=dense,
            dropout_rates=(0.1, 0.25, 0.3, 0.3, 0.3),
            weight_decay=1e-4,
            init_scale=1.25,
        ),
        training=Training(learning_rate=0.03, momentum=0.9),
        augmentation=Augmentation(),
    )


def quick_teacher() -> TeacherRecipe:
    """Not the paper's: a teacher of 0.2M parameters that learns in minutes."""
    recipe = quick(teacher_of(filters=(24, 48, 64), dense=128))
    return replace(
        recipe,
        architecture=replace(recipe.architecture, init_scale=1.35),
        training=replace(recipe.training, learning_rate=0.02),
    )


def quick(recipe: TeacherRecipe | StudentRecipe) -> TeacherRecipe | StudentRecipe:
    """The recipe cut down to a few epochs of many small steps."""
    training = replace(
        recipe.training, schedule="cosine", epochs=QUICK_EPOCHS, batch_size=32
    )
    return replace(recipe, training=training)


def student(
    *,
    budget: Budget,
    convs: int | None = None,
    hidden: int | None = None,
    kernel: int = 5,
    image_shape: ImageShape = CIFAR_SHAPE,
    num_classes: int = 10,
    c1: float = 0.5,
    c2: float = 0.5,
    ratios: Sequence[float] | None = None,
    bounds: Callable[..., WidthBounds] = student_widths,
    width_rule: WidthRule = "exact",
) -> StudentRecipe:
    """A student on logits whose parameter count is within 1 % of the budget.

    Accuracies: the table above. Learning rate 0.003, momentum 0.9, input and
    initial scale 1 lie inside the paper's ranges (docs/papers/urban2017.md); there is
    no dropout and no weight decay (both cost students several percent). The gradient's
    norm is clipped at 30, which is ours: the loss, a sum over classes of squares of
    large numbers, otherwise diverges at every learning rate of the paper's range.

    Args:
        budget: target count of trainable parameters.
        convs: 1 to 4 convolutions under one ReLU layer (Table 3's families).
        hidden: instead of convs, 1 to 5 ReLU layers of an MLP; only one layer has
            a linear bottleneck in front.
        kernel: side of the filters; 5 is our reading, 3 the other possible one.
        image_shape: height, width, channels.
        num_classes: number of logits.
        c1: the first width group's place in its bounds, 0 to 1.
        c2: the second's (unused by MLPs); `urban2017_bounds` says which is which.
        ratios: one per ReLU layer for hidden >= 2: the widths' proportions.
            None makes all layers equally wide.
        bounds: (budget, convs=) -> the bounds of each width group.
        width_rule: "rounded" moves the widths to multiples of 16, below 64 of 8,
            which train faster, within the same 1 % (`urban2017_rounded`).

    Below 1M the bounds shrink with sqrt(budget), between the published budgets they
    are interpolated, and the proposed widths move to the nearest ones that meet the
    budget where the proposal does not (`urban2017_widths`).

    Raises:
        UserError: the arguments contradict each other, or no widths meet the budget
            (the message names the smallest possible one).
    """
    from kerasdistill.recipes import urban2017_widths  # NumPy: --help does without

    _check(convs, hidden, ratios)
    if kernel < 1 or num_classes < 1 or len(image_shape) != 3 or min(image_shape) < 1:
        raise UserError(
            f"kernel {kernel}, image shape {tuple(image_shape)} or {num_classes} "
            "classes is not possible; expected such as 5, (32, 32, 3) and 10"
        )
    sizes = {"image_shape": image_shape, "num_classes": num_classes}
    sizes["rule"] = width_rule
    if hidden is not None and hidden > 1:
        ratios = ratios or (1.0,) * hidden
        widths = (), urban2017_widths.hidden_only(budget, ratios, **sizes), None
    else:
        options = {"convs": convs or 0, "kernel": kernel, **sizes}
        limits = bounds(budget, convs=convs or 0)
        widths = urban2017_widths.solved(budget, limits, (c1, c2), **options)
    pool = urban2017_widths.pooling(convs or 0)
    return StudentRecipe(
        architecture=Student(*widths, kernel=kernel, pool=pool, width_rule=width_rule),
        training=_STUDENT_TRAINING,
        augmentation=_augmentation(image_shape),
    )


def given(network: GivenNetwork, *, image_shape: ImageShape) -> GivenStudentRecipe:
    """Not the paper's: a network somebody brought, trained as `student` trains."""
    return GivenStudentRecipe(
        architecture=network,
        training=_STUDENT_TRAINING,
        augmentation=_augmentation(image_shape),
    )


def baseline(**request: Any) -> StudentRecipe:
    """A student's twin on hard labels, with dropout and weight decay.

    Published at 10M: 84.6, 88.9, 91.2 and 91.75 % for 1 to 4 convolutions (Table 1).
    Arguments and errors as for `student`; width bounds are the baselines' own, at
    other budgets than 10M times sqrt(budget / 10M). Dropout is the middle of its
    ranges, learning rate 0.01 and momentum 0.9 lie inside theirs, weight decay is
    the paper's 2e-4 (docs/papers/urban2017.md). MLPs have no published baseline:
    they use the students' bounds and the fully connected layers' dropout.
    """
    recipe = student(**request, bounds=urban2017_bounds.baseline_widths)
    pools = len(POOLED_AFTER[len(recipe.architecture.filters)])
    names = [f"dropout_conv_{pool}" for pool in range(1, pools + 1)] + ["dropout_dense"]
    ranges = [urban2017_bounds.BASELINE_RANGES[name] for name in names]
    architecture = replace(
        recipe.architecture,
        dropout_rates=tuple(round((r.low + r.high) / 2, 6) for r in ranges),
        weight_decay=urban2017_bounds.BASELINE_WEIGHT_DECAY,
    )
    training = Training(learning_rate=0.01, momentum=0.9)
    return replace(recipe, architecture=architecture, training=training)


def _check(
    convs: int | None, hidden: int | None, ratios: Sequence[float] | None
) -> None:
    if (convs is None) == (hidden is None):
        raise UserError(
            f"convs {convs} and hidden {hidden}: expected exactly one of them, such "
            "as convs 3 for a CNN or hidden 2 for an MLP"
        )
    if convs is not None and convs not in (1, 2, 3, 4):
        raise UserError(
            f"convs {convs} is not possible; expected 1 to 4 (for none give hidden)"
        )
    if hidden is not None and hidden not in (1, 2, 3, 4, 5):
        raise UserError(f"hidden {hidden} is not possible; expected 1 to 5")
    if ratios is not None and (hidden in (None, 1) or len(ratios) != hidden):
        raise UserError(
            f"ratios {tuple(ratios)} do not fit; expected one for each of 2 to 5 "
            "hidden layers, such as 1,0.5 with hidden 2"
        )


def _augmentation(image_shape: ImageShape) -> Augmentation:
    """The paper's, with crops from three quarters of the side (24 of 32 pixels)."""
    return Augmentation(min_crop=max(1, round(0.75 * min(image_shape[:2]))))
