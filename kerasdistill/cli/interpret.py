"""From parsed arguments to data, teachers, chains and checks."""

import argparse
import atexit
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.cli import distilling_options, requested
from kerasdistill.cli.arguments import image_shape
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.recipes import base, urban2017
from pipelines import datasets
from pipelines.stored.stores import STORES

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


def adapted_teachers(
    asked: argparse.Namespace, teachers: Sequence[str], image_data: datasets.ImageData
) -> list[str]:
    """The teachers as files that take the data's images."""
    from kerasdistill.experiments import adapting

    scratch = None
    if asked.plan:  # which makes nothing in the workdir
        scratch = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return adapting.adapted(
        teachers,
        data=image_data,
        workdir=asked.workdir,
        scratch=scratch,
        output=asked.teacher_output,
        weights=asked.weights,
    )


def data_of(asked: argparse.Namespace, told: Mapping[str, Any]) -> datasets.ImageData:
    """The images that a model or a set was made from.

    Args:
        asked: the command line; a folder in --dataset goes before, as the name of one
            says nothing of where it lies now.
        told: "dataset", "class_names" and "image_shape" of a card or manifest, as far
            as it has them; the command line says the rest.
    """
    identity = told.get("dataset") or {}
    shape = tuple(told.get("image_shape") or image_shape(asked))
    if ":" in asked.dataset or not {"name", "split_seed"} <= identity.keys():
        name, seed, quick = asked.dataset, asked.split_seed, asked.quick
    else:
        name, seed = identity["name"], identity["split_seed"]
        few = datasets.QUICK_EXAMPLES["train"]
        quick = asked.quick or identity.get("num_samples") == few
    return datasets.load(
        name,
        data_dir=asked.data_dir,
        split_seed=seed,
        quick=quick,
        class_names=tuple(told.get("class_names", ())),
        image_shape=shape,
    )


def data_of_set(
    asked: argparse.Namespace, path: str | Path
) -> datasets.ImageData | None:
    """What a set makes its views from; None for one that holds them."""
    from kerasdistill.running import opening

    manifest = opening.manifest_of(path)
    if not manifest.needs_data:
        return None
    names = ("dataset", "class_names", "image_shape")
    return data_of(asked, {name: getattr(manifest, name) for name in names})


def require_images(path: str | Path, *, instead: str) -> dict[str, Any]:
    """The card beside an image model, {} without one; UserError for a language model.

    `instead` says what to do with one.
    """
    card = cards.read_card(path) or {}
    if card.get("kind") == cards.LANGUAGE_MODEL:
        raise UserError(f"{path} is a language model; {instead}")
    return card


def _class_names(asked: argparse.Namespace, set_path: str | None) -> tuple[str, ...]:
    if asked.verb not in distilling_options.TAKE_UNLABELLED:
        raise UserError(
            f"{asked.verb} needs labels, which {asked.dataset} has not; unlabelled "
            "images serve precompute, student, verify and born-again --teacher"
        )
    if set_path is not None:
        from kerasdistill.running import opening

        return opening.manifest_of(set_path).class_names
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
    needs_data = STORES[asked.store or "images"].needs_data
    if asked.resident == "always" and own and not needs_data:
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


def set_options(asked: argparse.Namespace) -> dict[str, Any]:
    """How a student uses the finished set that was given."""
    return {
        "distillation_set_path": asked.distillation_set,
        "passes": asked.passes,
        "members": asked.members,
        "averaging": asked.averaging or "mean-logits",
        "resident": asked.resident,
    }


def chain_of(
    asked: argparse.Namespace,
    student: base.StudentRecipe,
    image_data: datasets.ImageData,
) -> Any:
    """The chain that leads to a student without a finished set."""
    from kerasdistill.experiments import chain

    paths = adapted_teachers(asked, asked.teacher or (), image_data)
    return chain.Chain(
        teachers=() if paths else requested.chain_teachers(asked, image_data),
        teacher_paths=tuple(paths),
        student=student,
        passes=passes_of(asked),
        store=asked.store or "images",
        seed=asked.seed,
        resident=asked.resident,
    )
