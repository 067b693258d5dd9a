"""What trainings make small: each loss is a value with its own settings.

A new loss is a class here, a line in `OBJECTIVES` and, usually, a pure function in
`losses`: the command line, recipes, trainings and reports know it by that.
Settings have defaults; `name` is the loss's on the command line and in JSON.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from kerasdistill.errors import UserError

# What a number may be, in words for people and as a test.
RANGES: dict[str, Callable[[float], bool]] = {
    "a number above 0": lambda x: 0 < x < float("inf"),
    "a number from 0": lambda x: 0 <= x < float("inf"),
    "a number from 0 to 1": lambda x: 0 <= x <= 1,
    "a number from 0 to below 1": lambda x: 0 <= x < 1,
}
# What batches of a distillation set have beside the image.
STORED = ("label", "teacher_logits", "sample_id", "partner_label", "share")

TEXTS = ("hard-label", "ban", "ban+l")  # what language models learn by


def setting(default: float, expected: str, *, about: str) -> Any:
    """A number among an objective's fields; `expected` is one of `RANGES`, `about` is
    said of the option that the command line makes of it."""
    return field(default=default, metadata={"expected": expected, "about": about})


@dataclass(frozen=True)
class Objective:
    """A loss and its settings, which are the fields of each subclass.

    Attributes:
        name: the loss's, on the command line and in JSON.
        weighted: whether `per_example` gives each example's weight beside its loss.
        needs_step: whether `per_example` looks at `step`.
    """

    name: str = field(default="", init=False)
    weighted: ClassVar[bool] = False
    needs_step: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        """What batches must have beside "image"."""
        return ("label", "teacher_logits")

    @property
    def learns_from_teacher(self) -> bool:
        """Whether a teacher has a part in it."""
        return "teacher_logits" in self.needs

    def per_example(self, batch: dict, logits: Any, *, seed: int = 0, step: Any = 0):
        """The loss of each example, float32 [batch]; (losses, weights) if `weighted`.

        Args:
            batch: arrays of [batch, ...]: "label", "teacher_logits" (or the largest of
                them, "teacher_ids" and "teacher_log_probabilities" [batch, K]),
                "sample_id", and "partner_label" and "share" of mixed views.
            logits: the student's, [batch, classes].
            seed: of what is drawn.
            step: how many there were before this one.
        """
        raise NotImplementedError  # each objective has its own

    def __post_init__(self):
        for each in dataclasses.fields(self):
            expected, value = each.metadata.get("expected"), getattr(self, each.name)
            if expected and not RANGES[expected](value):
                raise UserError(f"{each.name} {value} was given; expected {expected}")


@dataclass(frozen=True)
class HardLabel(Objective):
    """Softmax cross-entropy with class ids: teachers and baselines.

    `label_smoothing` is spread evenly over all classes.
    """

    label_smoothing: float = setting(
        0.0, "a number from 0 to below 1", about="of the label, on all classes"
    )
    name = "hard-label"
    needs = ("label",)

    def per_example(self, batch, logits, **_):
        options = {"smoothing": self.label_smoothing}
        return _by_labels(batch, lambda y: _losses().hard_label(y, logits, **options))


@dataclass(frozen=True)
class LogitRegression(Objective):
    """L2 regression on the teacher's logits (Urban, eq. 1)."""

    name = "logit-regression"
    needs = ("teacher_logits",)

    def per_example(self, batch, logits, **_):
        return _losses().logit_regression(batch["teacher_logits"], logits)


@dataclass(frozen=True)
class _Softened(Objective):
    temperature: float = setting(1.0, "a number above 0", about="of the softmax")


@dataclass(frozen=True)
class KnowledgeDistillation(_Softened):
    """Cross-entropy with the teacher's soft targets, and with labels if alpha < 1."""

    alpha: float = setting(1.0, "a number from 0 to 1", about="soft targets' weight")
    name = "kd"

    def __post_init__(self):
        if not self.temperature > 0 or not 0 <= self.alpha <= 1:
            raise UserError(
                f"temperature {self.temperature} and alpha {self.alpha} were given; "
                "expected temperature > 0 and alpha between 0 and 1"
            )

    @property
    def needs(self):
        return ("teacher_logits",) if self.alpha == 1.0 else super().needs

    def per_example(self, batch, logits, **_):
        options = {"temperature": self.temperature, "alpha": self.alpha}
        teacher = batch["teacher_logits"]
        return _by_labels(
            {"label": None} if self.alpha == 1.0 else batch,
            lambda y: _losses().knowledge_distillation(y, teacher, logits, **options),
        )


@dataclass(frozen=True)
class Ban(_Softened):
    """Cross-entropy with the teacher's probabilities, without labels."""

    name = "ban"
    needs = ("teacher_logits",)

    def per_example(self, batch, logits, **_):
        if "teacher_ids" in batch:
            largest = batch["teacher_ids"], batch["teacher_log_probabilities"]
            return _losses().ban_of_largest(*largest, logits)
        teacher = batch["teacher_logits"]
        return _losses().ban(teacher, logits, temperature=self.temperature)


@dataclass(frozen=True)
class BanWithLabels(Ban):
    """BAN+L: labels and teacher, each with its weight."""

    label_weight: float = setting(1.0, "a number from 0", about="of the labels")
    teacher_weight: float = setting(1.0, "a number from 0", about="of the teacher")
    name = "ban+l"
    needs = ("label", "teacher_logits")

    def __post_init__(self):
        one, other = self.label_weight, self.teacher_weight
        if min(one, other) < 0 or one + other <= 0:
            raise UserError(
                f"weights {one} and {other} were given; expected none below 0 and one "
                "above"
            )
        super().__post_init__()

    def per_example(self, batch, logits, **_):
        labels = _by_labels(batch, lambda y: _losses().hard_label(y, logits))
        soft = super().per_example(batch, logits)
        return self.label_weight * labels + self.teacher_weight * soft


@dataclass(frozen=True)
class ConfidenceWeighted(_Softened):
    """CWTM: labels alone, weighted by the teacher's largest probability."""

    name = "cwtm"
    weighted = True

    def per_example(self, batch, logits, **_):
        # Whoever sums divides by the weights of the global batch.
        values = _by_labels(batch, lambda y: _losses().hard_label(y, logits))
        teacher = batch["teacher_logits"]
        return values, _losses().confidence(teacher, temperature=self.temperature)


@dataclass(frozen=True)
class PermutedPredictions(_Softened):
    """DKPP: the teacher's probabilities other than the largest are shuffled.

    `permutation` is "fresh" for each example and step, or "fixed": one for the whole
    training.
    """

    permutation: Literal["fresh", "fixed"] = "fresh"
    name = "dkpp"

    def __post_init__(self):
        super().__post_init__()
        if self.permutation not in ("fresh", "fixed"):
            raise UserError(
                f"permutation {self.permutation!r} was given; expected fresh or fixed"
            )

    @property
    def needs_step(self):
        return self.permutation == "fresh"

    @property
    def needs(self):
        return ("sample_id",) * self.needs_step + ("teacher_logits",)

    def per_example(self, batch, logits, *, seed=0, step=0):
        losses, teacher = _losses(), batch["teacher_logits"]
        draw = {"classes": logits.shape[-1], "seed": seed}
        if self.needs_step:
            keys = losses.shuffle_keys(batch["sample_id"], **draw, step=step)
        else:
            keys = losses.shuffle_keys(losses.no_ids(logits), **draw, step=0)
        return losses.dkpp(teacher, logits, keys=keys, temperature=self.temperature)


OBJECTIVES: dict[str, type[Objective]] = {
    each.name: each
    for each in (
        HardLabel,
        LogitRegression,
        KnowledgeDistillation,
        Ban,
        BanWithLabels,
        ConfidenceWeighted,
        PermutedPredictions,
    )
}


def settings(kind: type[Objective]) -> dict[str, dataclasses.Field]:
    """An objective's own fields, by name."""
    return {each.name: each for each in dataclasses.fields(kind) if each.init}


def on_stored_logits() -> list[str]:
    """The names of objectives that learn from a teacher by what sets store."""
    made = [kind() for kind in OBJECTIVES.values()]
    stored = [each for each in made if set(each.needs) <= set(STORED)]
    return [each.name for each in stored if each.learns_from_teacher]


def _by_labels(batch: dict, loss: Callable[[Any], Any]) -> Any:
    """`loss` of the labels; of mixed views, of both images' by their shares."""
    own = loss(batch["label"])
    if "partner_label" not in batch:
        return own
    return batch["share"] * own + (1.0 - batch["share"]) * loss(batch["partner_label"])


def _losses() -> Any:
    # With Keras: whoever reads recipes and reports does not wait for it.
    from kerasdistill import losses

    return losses
