"""From parsed arguments to data, recipes and checks; widths before any data is read."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kerasdistill import cards, devices
from kerasdistill.budget import Budget
from kerasdistill.cli import language_options
from kerasdistill.errors import UserError
from kerasdistill.models import given
from kerasdistill.recipes import (
    base,
    born_again,
    fast,
    urban2017,
    urban2017_presets,
)
from kerasdistill.runs import read_json
from pipelines import datasets, integrity

QUICK_PASSES, PAPER_PASSES = 24, 160


def data(
    asked: argparse.Namespace, *, set_path: str | None = None
) -> datasets.ImageData:
    """The data set; unlabelled images take their class names from a teacher.

    Args:
        asked: the command line.
        set_path: a distillation set that knows the class names too.
    """
    class_names = ()
    if asked.dataset.startswith(datasets.UNLABELLED):
        class_names = _class_names(asked, set_path)
    return datasets.load(
        asked.dataset,
        data_dir=asked.data_dir,
        split_seed=asked.split_seed,
        quick=asked.quick,
        class_names=class_names,
        image_shape=image_shape(asked),
    )


def image_shape(asked: argparse.Namespace) -> tuple[int, int, int]:
    return (asked.image_size, asked.image_size, 1 if asked.grey else 3)


def adapted_teachers(
    asked: argparse.Namespace, teachers: Sequence[str], image_data: datasets.ImageData
) -> list[str]:
    """The teachers as files that take the data's images."""
    from kerasdistill.experiments import teachers as others

    return others.adapted(
        teachers,
        data=image_data,
        workdir=asked.workdir,
        output=asked.teacher_output,
        weights=asked.weights,
    )


def export_data(asked: argparse.Namespace) -> datasets.ImageData:
    """The data set a model's card names, else that of --dataset."""
    card = cards.read_card(asked.path) or {}
    told = card.get("dataset")
    if not isinstance(told, dict):
        return data(asked)
    return datasets.load(
        told["name"],
        data_dir=asked.data_dir,
        split_seed=told["split_seed"],
        class_names=tuple(card.get("class_names", ())),
        image_shape=tuple(card["image_shape"]),
    )


def _class_names(asked: argparse.Namespace, set_path: str | None) -> tuple[str, ...]:
    if asked.verb not in ("precompute", "student", "verify", "born-again"):
        raise UserError(
            f"{asked.verb} needs labels, which {asked.dataset} has not; unlabelled "
            "images serve precompute, student, verify and born-again --teacher"
        )
    if set_path is not None:
        return integrity.read_manifest(Path(set_path)).class_names
    teachers = [asked.teacher] if asked.verb == "born-again" else asked.teacher
    teachers = [path for path in teachers or () if path]
    cards_found = [cards.read_card(path) or {} for path in teachers]
    names = [card["class_names"] for card in cards_found if "class_names" in card]
    if not names:
        raise UserError(
            "unlabelled images need a teacher with a card.json beside it, which knows "
            "the classes; give one with --teacher"
        )
    return tuple(names[0])


def command() -> str:
    return shlex.join(["python", "-m", "kerasdistill.cli", *sys.argv[1:]])


def passes_of(asked: argparse.Namespace) -> int:
    """How many passes to label: as asked, else the paper's, or few with --quick."""
    if asked.passes is None:
        return QUICK_PASSES if asked.quick else PAPER_PASSES
    if asked.passes < 1:
        raise UserError(f"--passes is {asked.passes}, expected at least 1")
    return asked.passes


def check_teachers(count: int | None) -> None:
    most = len(urban2017.PUBLISHED_TEACHERS)
    if count is not None and not 1 <= count <= most:
        raise UserError(f"--teachers is {count}, expected 1 to {most}")


def check_resident(asked: argparse.Namespace) -> None:
    own = asked.distillation_set is None  # the store of another is seen on opening
    if asked.resident == "always" and own and asked.store != "replay":
        raise UserError("--resident always needs --store replay; add it")


def check_signal(asked: argparse.Namespace) -> None:
    """Refuses what contradicts itself in a student's teachers, set and passes."""
    passes_of(asked)
    check_teachers(asked.teachers)
    check_resident(asked)
    if not asked.distillation_set and (asked.members or asked.averaging):
        raise UserError(
            "--members and --averaging choose from a set that keeps members; give it "
            "with --distillation-set"
        )


def check_labels(recipe: base.StudentRecipe, data: datasets.ImageData) -> None:
    if not data.labelled and recipe.training.alpha < 1:
        raise UserError(
            f"--alpha {recipe.training.alpha} weighs labels, which {data.name} has "
            "not; leave it out"
        )


def set_options(asked: argparse.Namespace) -> dict[str, Any]:
    """How a student uses the finished set that was given."""
    return {
        "distillation_set_path": asked.distillation_set,
        "passes": asked.passes,
        "members": asked.members,
        "averaging": asked.averaging or "mean-logits",
        "resident": asked.resident,
    }


def budget_of(asked: argparse.Namespace) -> Budget:
    if asked.budget is None:
        raise UserError("--budget is missing; give one such as --budget 10M")
    return Budget.parse(asked.budget)


def teacher_recipe(asked: argparse.Namespace) -> base.AnyTeacherRecipe:
    if asked.fast:
        if (asked.published, asked.filters, asked.dense) != (None, None, None):
            raise UserError("--fast has widths of its own; leave out the others")
        return fast.teacher()
    if asked.filters is None and asked.dense is None:
        return urban2017.teacher(asked.published or 1)
    if asked.published is not None or asked.filters is None or asked.dense is None:
        raise UserError("give --published, or both --filters A,B,C and --dense H")
    return urban2017.teacher_of(filters=asked.filters, dense=asked.dense)


def check_summary(asked: argparse.Namespace) -> None:
    if (asked.what is None) == (asked.arch is None):
        raise UserError("summary needs one of teacher, student and --arch NAME")
    if asked.fast and asked.what != "teacher":
        raise UserError("--fast is a teacher's; write summary teacher --fast")
    if asked.arch is None and (asked.depth_factor or asked.compression_factor):
        raise UserError("--depth-factor and --compression-factor need --arch NAME")
    if (asked.arch in language_options.ARCHITECTURES) != (asked.vocabulary is not None):
        raise UserError("--vocabulary V belongs to --arch lstm and --arch cnn-lstm")


def born_again_recipe(
    asked: argparse.Namespace,
) -> tuple[base.BornAgainRecipe, list[str]]:
    """The recipe of --arch, and what to know of its printed count."""
    factors = {
        "depth_factor": asked.depth_factor or 1,
        "compression_factor": asked.compression_factor or 1,
    }
    recipe = born_again.recipe(asked.arch, **factors)
    return recipe, born_again.notes(asked.arch, **factors)


def chain_teachers(
    asked: argparse.Namespace, image_data: datasets.ImageData
) -> tuple[base.AnyTeacherRecipe, ...]:
    if asked.fast:  # the length of its training is part of its recipe
        recipes = [fast.teacher()]
        own = dict.fromkeys(("epochs", "schedule"))
        asked = argparse.Namespace(**{**vars(asked), **own})
    elif asked.quick:
        recipes = [urban2017.quick_teacher()] * (asked.teachers or 1)
    else:
        published = range(1, (asked.teachers or 3) + 1)
        recipes = [urban2017.teacher(number) for number in published]
    shared = argparse.Namespace(**{**vars(asked), **_NOT_FOR_TEACHERS})
    return tuple(
        trained_as_asked(
            base.for_images(recipe, image_data.image_shape),
            shared,
            seed=asked.seed + number,
        )
        for number, recipe in enumerate(recipes)
    )


def chain_of(
    asked: argparse.Namespace,
    student: base.StudentRecipe,
    image_data: datasets.ImageData,
    *,
    search: bool = False,
) -> Any:
    """The chain that leads to a student without a finished set."""
    from kerasdistill.experiments import chain

    paths = adapted_teachers(asked, asked.teacher or (), image_data)
    return chain.Chain(
        teachers=() if paths else chain_teachers(asked, image_data),
        teacher_paths=tuple(paths),
        student=student,
        passes=passes_of(asked),
        store=asked.store or "images",
        seed=asked.seed,
        resident=asked.resident,
        search=search,
    )


_SOFT_LOSS_OPTIONS = ("loss", "temperature", "alpha")
# In a chain these options are the student's.
_NOT_FOR_TEACHERS = dict.fromkeys(
    ("learning_rate", "momentum", "batch_size", *_SOFT_LOSS_OPTIONS)
)


def student_maker(
    asked: argparse.Namespace,
    family: Callable[..., base.StudentRecipe],
    *,
    losses: Sequence[str] = ("hard-label",),
) -> Callable[[datasets.ImageData], base.StudentRecipe]:
    """Checks the request before any data is read; the data then fix the shapes."""
    shape = (asked.budget, asked.convs, asked.hidden)
    whole = ("recipe", "preset", "student")  # each is a student of its own
    chosen = [name for name in whole if getattr(asked, name, None) is not None]
    if chosen and shape != (None, None, None):
        raise UserError(f"--{chosen[0]} fixes the widths; leave out --budget and shape")
    if len(chosen) > 1:
        raise UserError(
            f"--{chosen[0]} and --{chosen[1]} are two students; leave one out"
        )
    if chosen == ["preset"]:
        recipe = urban2017_presets.PRESETS[asked.preset]()
        return lambda data: recipe
    if chosen == ["student"]:
        network = given.network(asked.student)
        return lambda data: urban2017.given(network, image_shape=data.image_shape)
    if asked.recipe is not None:
        recipe = _read_recipe(asked.recipe, losses)
        return lambda data: recipe
    widths = {"convs": asked.convs, "hidden": asked.hidden, "kernel": asked.kernel}
    budget = budget_of(asked)
    family(budget=budget, **widths)

    def make(data: datasets.ImageData) -> base.StudentRecipe:
        shapes = {"image_shape": data.image_shape, "num_classes": data.num_classes}
        return family(budget=budget, **widths, **shapes)

    return make


def _read_recipe(path: str, losses: Sequence[str]) -> base.StudentRecipe:
    value = read_json(path)
    # A run's recipe.json holds the whole request.
    if isinstance(value, dict) and "kind" not in value and "recipe" in value:
        value = value["recipe"]
    recipe = base.from_json(value)
    if not isinstance(recipe, base.StudentRecipe):
        raise UserError(
            f"{path} is no student's recipe; pass a student's or baseline's"
        )
    if recipe.training.loss not in losses:
        raise UserError(
            f"{path} is a recipe with loss {recipe.training.loss!r}, expected "
            f"{' or '.join(losses)}; student and baseline have recipes of their own"
        )
    return recipe


def trained_as_asked(
    recipe: base.Recipe, asked: argparse.Namespace, *, seed: int | None = None
) -> Any:
    """The recipe with the command line's training options in it."""
    if asked.quick:
        own = isinstance(recipe, base.FastTeacherRecipe)
        recipe = fast.quick(recipe) if own else urban2017.quick(recipe)
    given = {
        "epochs": asked.epochs,
        "schedule": asked.schedule,
        "learning_rate": asked.learning_rate,
        "momentum": asked.momentum,
        "batch_size": asked.batch_size,
        **{name: getattr(asked, name, None) for name in _SOFT_LOSS_OPTIONS},
    }
    changes = {name: value for name, value in given.items() if value is not None}
    training = replace(
        recipe.training,
        precision=(
            "float32"  # somebody else's network computes as it was built
            if isinstance(recipe, base.GivenStudentRecipe)
            else devices.resolve_precision(asked.precision)
        ),
        seed=asked.seed if seed is None else seed,
        **changes,
    )
    if training.schedule != "paper" and training.epochs is None:
        raise UserError(f"--schedule {training.schedule} needs --epochs N")
    return replace(recipe, training=training)
