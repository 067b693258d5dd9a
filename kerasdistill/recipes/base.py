"""Recipes: frozen, JSON-able descriptions of one model and its training."""

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from kerasdistill.objectives import HardLabel, Objective
from kerasdistill.recipes import older
from kerasdistill.recipes.architectures import Architecture, LanguageNetwork
from kerasdistill.requests import LATER, plain

ScheduleName = Literal["paper", "cosine", "linear"]
OptimizerName = Literal["sgd", "muon"]
WidthRule = Literal["exact", "rounded"]


@dataclass(frozen=True)
class Augmentation:
    """Urban's augmentation (appendix, docs/papers/urban2017.md) in [0, 1] units.

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
    (Zagoruyko & Komodakis 2016, docs/papers/born-again.md)."""

    pad: int = 4
    mirror: bool = True


@dataclass(frozen=True)
class CnnTeacher:
    """c^2-mp-c^2-mp-c^4-mp-fc^2 with 3x3 filters (docs/papers/urban2017.md)."""

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
    """An MLP (no filters) or a CNN with one ReLU layer on top.

    `bottleneck` is a linear layer before the first ReLU layer (0 or 1
    convolutions only). `dropout_rates` serve the hard-label baselines: one after
    each pooling, then one after the fully connected layer. `width_rule` says how the
    widths were chosen: exactly those of the paper's constants and the budget, or
    multiples of 16 (8 below 64) near them.
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
    pool_stride: int | None = field(default=None, metadata=LATER)  # None: no overlap
    width_rule: WidthRule = field(default="exact", metadata=LATER)


@dataclass(frozen=True)
class GivenNetwork:
    """A network that is taken as it is.

    `source` is a `.keras` file, whose content `sha256` fixes, or keras:NAME[@SIDE].
    """

    source: str
    sha256: str | None


@dataclass(frozen=True)
class Training:
    """How weights are trained: Nesterov SGD, or Muon, under a schedule.

    `epochs` is None when the paper's own stopping rule (A6) ends the training.
    Gradients whose norm over all weights exceeds `clip_norm` are shortened to it
    (None: never).
    """

    learning_rate: float
    momentum: float
    batch_size: int = 128
    schedule: ScheduleName = "paper"
    epochs: int | None = None
    objective: Objective = HardLabel()
    precision: str = "float32"
    seed: int = 0
    clip_norm: float | None = None
    optimizer: OptimizerName = "sgd"

    @property
    def loss(self) -> str:
        """The objective's name."""
        return self.objective.name

    #: Settings that older versions had here for every loss, and their defaults.
    older_settings: ClassVar[dict[str, Any]] = older.EVERY

    def older_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """See `requests.older`."""
        return older.flat(fields, self.older_settings)


@dataclass(frozen=True)
class BornAgainTraining(Training):
    """Further settings of the second paper's trainings.

    Schedule "steps" multiplies the rate by `decay` after each of `milestones`,
    fractions of `epochs`.
    """

    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[float, ...] = ()
    decay: float = 1.0
    older_settings = {**older.EVERY, **older.WEIGHTS, **older.PERMUTATION}


@dataclass(frozen=True)
class TextTraining(Training):
    """Further settings of trainings on text: plain SGD, the loss summed over a window.

    Schedule "paper" multiplies the rate by `decay` after an epoch whose validation
    perplexity is no new best, or one by less than `least_gain`. `window` is the length
    of back-propagation in words, `batch_size` the number of streams.
    """

    momentum: float = 0.0
    batch_size: int = 32
    schedule: Literal["paper"] = "paper"
    epochs: int = 40
    window: int = 35
    decay: float = 0.25
    least_gain: float = 0.0
    older_settings = {**older.EVERY, **older.WEIGHTS}


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
class GivenStudentRecipe(StudentRecipe):
    """A student whose network somebody brought."""

    architecture: GivenNetwork


@dataclass(frozen=True)
class BornAgainRecipe:
    """A generation: the 0th learns labels, later ones from the one before."""

    architecture: Architecture
    training: BornAgainTraining
    augmentation: CropAugmentation = CropAugmentation()


@dataclass(frozen=True)
class LanguageModelRecipe:
    """A language model: on labels, or on a teacher's probabilities of the next word."""

    architecture: LanguageNetwork
    training: TextTraining


AnyTeacherRecipe = TeacherRecipe | FastTeacherRecipe
Recipe = (
    AnyTeacherRecipe
    | StudentRecipe
    | GivenStudentRecipe
    | BornAgainRecipe
    | LanguageModelRecipe
)
KINDS = {kind.__name__: kind for kind in typing.get_args(Recipe)}


def for_images(recipe: Any, image_shape: tuple[int, int, int]) -> Any:
    """The recipe of 32-pixel images, with crops and shifts that scale with the side."""
    scale = min(image_shape[:2]) / 32
    views = vars(recipe.augmentation)
    names = [name for name in ("min_crop", "pixels", "cutout", "pad") if name in views]
    sizes = {name: round(scale * views[name]) for name in names}
    augmentation = dataclasses.replace(recipe.augmentation, **sizes)
    return dataclasses.replace(recipe, augmentation=augmentation)


def fields(value: Any) -> dict[str, Any]:
    """A dataclass as a dictionary of plain values."""
    return dataclasses.asdict(value)


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A dictionary of plain values; `reading.from_json` turns it back.

    Without fields that are younger than its first version and at their default, so that
    results of all versions can be compared.
    """
    return plain({"": recipe}, later=False)[""]
