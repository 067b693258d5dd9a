"""Search spaces of Urban et al. 2017 (docs/papers/urban2017.md), each with its recipes.

A space is a box and a pure function from its points to recipes. Widths are solved from
the budget, so every point of a student's or baseline's box is within 1 % of it and no
trial is ever rejected for its size. The bounds are Table 3's at the published budgets;
what they are between and beyond them says `urban2017_bounds.student_widths`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from kerasdistill.budget import POOLED_AFTER
from kerasdistill.recipes import base, urban2017, urban2017_bounds
from tuners.space import Dimension, Space, Values

Family = Callable[..., base.StudentRecipe]

_TEACHER_WIDTHS = ("filters_1", "filters_2", "filters_3", "dense")
_TEACHER_DROPOUTS = (
    "dropout_conv_1",
    "dropout_conv_2",
    "dropout_conv_3",
    "dropout_dense_1",
    "dropout_dense_2",
)
_TIED = "dropout_dense_2"
_RATE = ("learning_rate", "momentum")
_COLOURS = ("hue", "saturation", "value", "saturation_scale", "value_scale")


def student(
    *, convs: int | None = None, hidden: int | None = None, **request: Any
) -> Space:
    """Students on logits: nine families (convs 1 to 4, hidden 1 to 5), any budget.

    Learning rate, momentum, input scale, initial scale and the widths: constants
    c1 and c2, c1 alone for the MLP with one hidden layer and its bottleneck,
    a ratio for each layer of a deeper MLP. Arguments as for `urban2017.student`.

    Raises:
        UserError: as `urban2017.student`.
    """
    family = partial(urban2017.student, convs=convs, hidden=hidden, **request)
    family()  # a request without widths is refused here, not in a trial
    names = [*_RATE, "input_scale", "init_scale"]
    others = _dimensions(urban2017_bounds.STUDENT_RANGES, names)
    dimensions = (*others, *_widths(convs, hidden))
    return Space(dimensions, partial(_student, family), _RATE)


def baseline(
    *, convs: int | None = None, hidden: int | None = None, **request: Any
) -> Space:
    """The hard-label baselines: learning rate, momentum, dropout rates and widths.

    Four families are published, at 10M; widths at other budgets and MLPs as
    `urban2017.baseline` says. Weight decay is the paper's constant.

    Raises:
        UserError: as `urban2017.baseline`.
    """
    family = partial(urban2017.baseline, convs=convs, hidden=hidden, **request)
    family()
    pools = range(1, 1 + len(POOLED_AFTER[convs or 0]))
    dropouts = [*(f"dropout_conv_{pool}" for pool in pools), "dropout_dense"]
    names = [*_RATE, *dropouts]
    others = _dimensions(urban2017_bounds.BASELINE_RANGES, names)
    dimensions = (*others, *_widths(convs, hidden))
    return Space(dimensions, partial(_baseline, family, dropouts), _RATE)


def teacher(*, tie_dropout: bool = False) -> Space:
    """The teachers' 18 dimensions; widths stand for C1, C2, C3, H1.

    With `tie_dropout` both dense layers drop out at one rate: 17 dimensions. The paper
    has one such rate in one place and two in another.
    """
    ranges = urban2017_bounds.TEACHER_RANGES
    names = [name for name in ranges if not (tie_dropout and name == _TIED)]
    return Space(_dimensions(ranges, names), _teacher, _RATE)


def _dimensions(
    ranges: Mapping[str, urban2017_bounds.Range], names: Sequence[str]
) -> tuple[Dimension, ...]:
    pairs = [(name, ranges[name]) for name in names]
    return tuple(
        Dimension(name, r.low, r.high, log=r.log, whole=name in _TEACHER_WIDTHS)
        for name, r in pairs
    )


def _widths(convs: int | None, hidden: int | None) -> tuple[Dimension, ...]:
    if hidden is not None and hidden > 1:
        ratio = urban2017_bounds.RATIO_RANGE
        layers = range(1, hidden + 1)
        return tuple(Dimension(f"ratio_{n}", ratio.low, ratio.high) for n in layers)
    names = ["c1"] if hidden == 1 else ["c1", "c2"]
    return _dimensions(urban2017_bounds.STUDENT_RANGES, names)


def _sized(family: Family, values: Values) -> base.StudentRecipe:
    ratios = [values[name] for name in values if name.startswith("ratio_")]
    constants = {name: values[name] for name in ("c1", "c2") if name in values}
    recipe = family(**constants, ratios=ratios or None)
    return replace(recipe, training=_moving(recipe.training, values))


def _moving(training: base.Training, values: Values) -> base.Training:
    moving = {name: values[name] for name in _RATE}
    return replace(training, **moving)


def _student(family: Family, values: Values) -> base.StudentRecipe:
    recipe = _sized(family, values)
    scales = {name: values[name] for name in ("input_scale", "init_scale")}
    return replace(recipe, architecture=replace(recipe.architecture, **scales))


def _baseline(
    family: Family, dropouts: Sequence[str], values: Values
) -> base.StudentRecipe:
    recipe = _sized(family, values)
    rates = tuple(values[name] for name in dropouts)
    architecture = replace(recipe.architecture, dropout_rates=rates)
    return replace(recipe, architecture=architecture)


def _teacher(values: Values) -> base.TeacherRecipe:
    *filters, dense = (int(values[name]) for name in _TEACHER_WIDTHS)
    recipe = urban2017.teacher_of(filters=filters, dense=dense)
    tied = {_TIED: values["dropout_dense_1"], **values}
    architecture = replace(
        recipe.architecture,
        dropout_rates=tuple(tied[name] for name in _TEACHER_DROPOUTS),
        weight_decay=values["weight_decay"],
        init_scale=values["init_scale"],
    )
    colours = {name: values[name] for name in _COLOURS}
    return replace(
        recipe,
        architecture=architecture,
        training=_moving(recipe.training, values),
        augmentation=replace(recipe.augmentation, **colours),
    )
