"""Recipes: frozen, JSON-able descriptions of one model and its training."""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from kerasdistill.errors import UserError
from kerasdistill.recipes.architectures import Architecture

ScheduleName = Literal["paper", "cosine", "linear"]
OptimizerName = Literal["sgd", "muon"]
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LossName = Literal["hard-label", "logit-regression", "kd"]
BornAgainLossName = Literal["hard-label", "ban", "ban+l", "cwtm", "dkpp"]


@dataclass(frozen=True)
class Augmentation:
    """Urban's augmentation (appendix, fact sheet A3) in [0, 1] units.

    Shifts are uniform in +-hue, +-saturation, +-value; scales are uniform in
    [1/(1+scale), 1+scale]; square crops have min_crop..32 pixels a side. The
    defaults are the best single teacher's constants, which all students share.
    """

    hue: float = 0.06
    saturation: float = 0.26
    value: float = 0.20
    saturation_scale: float = 0.21
    value_scale: float = 0.13
    min_crop: int = 24
    mirror: bool = True
    shift_then_scale: bool = True


@dataclass(frozen=True)
class Shifts:
    """Shifted, mirrored and partly covered views (Jordan 2024, arXiv:2404.00498).

    Images are padded by reflection and cut out again up to `pixels` to each side.
    Mirroring alternates: an image mirrored in one pass is not in the next, and which
    of them begin mirrored is a coin's toss. A square of `cutout` pixels a side (0:
    none) takes the image's mean colour (DeVries and Taylor 2017).
    """

    pixels: int = 4
    mirror: bool = True
    cutout: int = 0


@dataclass(frozen=True)
class CropAugmentation:
    """Padding by reflection, a crop of the image's size, mirroring half the time
    (Zagoruyko & Komodakis 2016, fact sheet B3)."""

    pad: int = 4
    mirror: bool = True


@dataclass(frozen=True)
class CnnTeacher:
    """c^2-mp-c^2-mp-c^4-mp-fc^2 with 3x3 filters (fact sheet A4)."""

    filters: tuple[int, int, int]
    dense: int
    dropout_rates: tuple[float, float, float, float, float]
    weight_decay: float
    init_scale: float


@dataclass(frozen=True)
class FastTeacher:
    """A small residual-free network of three blocks, made to be trained fast.

    Not from the papers: the network of airbench94 (Jordan 2024, arXiv:2404.00498)
    with `filters` in its blocks.
    """

    filters: tuple[int, int, int]


@dataclass(frozen=True)
class Student:
    """An MLP (no filters) or a CNN with one ReLU layer on top (fact sheet A5).

    `bottleneck` is a linear layer before the first ReLU layer (0 or 1
    convolutions only). `dropout_rates` serve the hard-label baselines: one after
    each pooling, then one after the fully connected layer.
    """

    filters: tuple[int, ...]
    hidden: tuple[int, ...]
    bottleneck: int | None
    kernel: int = 5
    pool: int = 2
    input_scale: float = 1.0
    init_scale: float = 1.0
    dropout_rates: tuple[float, ...] = ()
    weight_decay: float = 0.0
    pool_stride: int | None = None  # None: poolings do not overlap


@dataclass(frozen=True)
class Training:
    """How the weights are found: Nesterov SGD, or Muon, under a schedule.

    `epochs` is None when the paper's own stopping rule (A6) ends the training.
    `label_smoothing` is spread evenly over all classes of a hard label.
    `alpha` weighs the soft-target term of the kd loss. Gradients whose norm over all
    weights exceeds `clip_norm` are shortened to it (None: never).
    """

    learning_rate: float
    momentum: float
    batch_size: int = 128
    schedule: ScheduleName = "paper"
    epochs: int | None = None
    loss: LossName = "hard-label"
    temperature: float = 1.0
    alpha: float = 1.0
    precision: str = "float32"
    seed: int = 0
    clip_norm: float | None = None
    optimizer: OptimizerName = "sgd"
    label_smoothing: float = 0.0


@dataclass(frozen=True)
class BornAgainTraining(Training):
    """What the second paper's trainings have beside.

    Schedule "steps" multiplies the rate by `decay` after each of `milestones`,
    fractions of `epochs`. `label_weight` and `teacher_weight` weigh the terms of
    BAN+L; `permutation` says whether DKPP shuffles anew in every step.
    """

    schedule: Literal["steps", "cosine"] = "steps"
    loss: BornAgainLossName = "hard-label"
    milestones: tuple[float, ...] = ()
    decay: float = 1.0
    label_weight: float = 1.0
    teacher_weight: float = 1.0
    permutation: Literal["fresh", "fixed"] = "fresh"


@dataclass(frozen=True)
class TeacherRecipe:
    """A teacher learns hard labels from views made on the fly."""

    architecture: CnnTeacher
    training: Training
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class FastTeacherRecipe:
    """A teacher that takes minutes where the paper's takes hours."""

    architecture: FastTeacher
    training: Training
    augmentation: Shifts = Shifts()


@dataclass(frozen=True)
class StudentRecipe:
    """A student, or with loss "hard-label" its baseline twin."""

    architecture: Student
    training: Training
    augmentation: Augmentation = Augmentation()


@dataclass(frozen=True)
class BornAgainRecipe:
    """A generation: the 0th learns labels, later ones what the one before says."""

    architecture: Architecture
    training: BornAgainTraining
    augmentation: CropAugmentation = CropAugmentation()


AnyTeacherRecipe = TeacherRecipe | FastTeacherRecipe
Recipe = AnyTeacherRecipe | StudentRecipe | BornAgainRecipe
_KINDS = {kind.__name__: kind for kind in typing.get_args(Recipe)}


def fields(value: Any) -> dict[str, Any]:
    """A dataclass as a dictionary of plain values."""
    return dataclasses.asdict(value)


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A dictionary of plain values that `from_json` turns back into the recipe."""
    value = {"kind": type(recipe).__name__, **fields(recipe)}
    # What runs were named by before there was this field still names them.
    if value["architecture"].get("pool_stride", 0) is None:
        del value["architecture"]["pool_stride"]
    return value


def from_json(value: dict[str, Any]) -> Recipe:
    """The recipe written by `to_json`; UserError names a field that is off."""
    if not isinstance(value, dict) or value.get("kind") not in _KINDS:
        kinds = ", ".join(_KINDS)
        raise UserError(f"a recipe needs a 'kind' among {kinds}; rewrite the file")
    fields = {name: field for name, field in value.items() if name != "kind"}
    recipe = _read(_KINDS[value["kind"]], fields, where=value["kind"])
    _check(recipe)
    return recipe


def _check(recipe: Recipe) -> None:
    """Refuses numbers that no model or training can have."""
    training, architecture = recipe.training, recipe.architecture
    positive = [training.learning_rate, training.batch_size, training.temperature]
    positive += [value for value in (training.epochs, training.clip_norm) if value]
    rates = getattr(architecture, "dropout_rates", ())
    rates += (getattr(architecture, "dropout_rate", 0.0),)
    problems = {
        "a width, kernel or pool below 1": min(_whole(fields(architecture))) < 1,
        "a learning rate, batch size or temperature that is not above 0": (
            min(positive) <= 0 or training.epochs == 0 or training.clip_norm == 0
        ),
        "a dropout rate or label smoothing outside 0 to 1": not all(
            0 <= rate < 1 for rate in (*rates, training.label_smoothing)
        ),
        f"precision {training.precision!r}": training.precision not in PRECISIONS,
    }
    for problem, found in problems.items():
        if found:
            raise UserError(f"the recipe has {problem}; correct it")


def _whole(value: Any) -> list[int]:
    """The whole numbers in nested plain values: of an architecture, its sizes."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for item in value for number in _whole(item)]
    return [value] if type(value) is int else []


def _read(kind: Any, value: Any, *, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, where=where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        if len(arguments) == len(value):
            pairs = zip(arguments, value, strict=True)
            return tuple(_read(kind, item, where=where) for kind, item in pairs)
    elif origin is Literal and value in arguments:
        return value
    elif origin is types.UnionType:
        plain = [option for option in arguments if option is not type(None)]
        if len(plain) > 1:  # dataclasses, told apart by their fields
            return _read_fields(_of_fields(plain, value, where), value, where=where)
        return None if value is None else _read(plain[0], value, where=where)
    elif kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif kind is not float and type(value) is kind:
        return value
    expected = kind.__name__ if type(kind) is type else kind
    raise UserError(
        f"recipe field {where} is {value!r}, expected {expected}; correct it"
    )


def _read_fields(kind: Any, value: Any, *, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"recipe field {where} is {value!r}, expected an object")
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise UserError(f"recipe field {where}.{unknown[0]} is not known; remove it")
    read = {
        name: _read(hints[name], item, where=f"{where}.{name}")
        for name, item in value.items()
    }
    try:
        return kind(**read)
    except TypeError as error:
        raise UserError(f"recipe {where} lacks a field: {error}") from error


def _of_fields(kinds: list[type], value: Any, where: str) -> type:
    for kind in kinds:
        if isinstance(value, dict) and set(value) == set(typing.get_type_hints(kind)):
            return kind
    names = ", ".join(kind.__name__ for kind in kinds)
    raise UserError(f"recipe field {where} is none of {names}; give all its fields")
