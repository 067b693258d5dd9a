"""From parsed arguments to data, teachers and chains."""

import argparse
import atexit
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdistill.cli import requested
from kerasdistill.cli.arguments import image_shape
from kerasdistill.cli.distilling_options import TAKE_UNLABELLED
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.recipes import base
from pipelines import datasets
from pipelines.datasets import ImageData
from pipelines.stored.stores import STORES

QUICK_PASSES, PAPER_PASSES = 24, 160


def data(args: argparse.Namespace, *, set_path: str | None = None) -> ImageData:
    """The data set; unlabelled images take their class names from a teacher, or from
    the distillation set at `set_path`."""
    class_names = ()
    if args.dataset.startswith(datasets.UNLABELLED):
        class_names = _class_names(args, set_path)
    return _load(args, class_names=class_names)


def _load(args: argparse.Namespace, **others: Any) -> ImageData:
    options = {"name": args.dataset, "data_dir": args.data_dir, "quick": args.quick}
    options |= {"split_seed": args.split_seed, "image_shape": image_shape(args)}
    options |= {"strict": args.strict, "drop_duplicates": args.drop_duplicates}
    return datasets.load(**options | others)


def adapted_teachers(
    args: argparse.Namespace, teachers: Sequence[str], image_data: ImageData
) -> list[str]:
    """The teachers as files that take the data's images."""
    from kerasdistill.experiments import adapting

    scratch = None
    if args.plan:  # which makes nothing in the workdir
        scratch = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return adapting.adapted(
        teachers,
        data=image_data,
        workdir=args.workdir,
        scratch=scratch,
        output=args.teacher_output,
        weights=args.weights,
    )


def data_of(args: argparse.Namespace, facts: Mapping[str, Any]) -> ImageData:
    """The images that a model or a set was made from.

    `facts` are "dataset", "class_names" and "image_shape" of a card or manifest, as far
    as it has them; the command line says the rest, and which folder images lie in.
    """
    identity = facts.get("dataset") or {}
    others = {"class_names": tuple(facts.get("class_names", ()))}
    if facts.get("image_shape"):
        others["image_shape"] = tuple(facts["image_shape"])
    if identity.get("drop_duplicates"):
        others["drop_duplicates"] = True
    if ":" not in args.dataset and {"name", "split_seed"} <= identity.keys():
        others |= {name: identity[name] for name in ("name", "split_seed")}
        few = datasets.QUICK_EXAMPLES["train"]
        others["quick"] = args.quick or identity.get("num_samples") == few
    return _load(args, **others)


def data_of_set(args: argparse.Namespace, path: str | Path) -> ImageData | None:
    """What a set makes its views from; None for one that holds them."""
    from kerasdistill.running import opening

    manifest = opening.manifest_of(path)
    return data_of(args, vars(manifest)) if manifest.needs_data else None


def require_images(path: str | Path, *, instead: str) -> dict[str, Any]:
    """The card beside an image model, {} without one; UserError for a language model.

    `instead` says what to do with one.
    """
    card = cards.read_card(path) or {}
    if card.get("kind") == cards.LANGUAGE_MODEL:
        raise UserError(f"{path} is a language model; {instead}")
    return card


def _class_names(args: argparse.Namespace, set_path: str | None) -> tuple[str, ...]:
    if args.verb not in TAKE_UNLABELLED:
        raise UserError(
            f"{args.verb} needs labels, but {args.dataset} has none; unlabelled "
            "images serve precompute, student, verify and born-again --teacher"
        )
    if set_path is not None:
        from kerasdistill.running import opening

        return opening.manifest_of(set_path).class_names
    teachers = [args.teacher] if args.verb == "born-again" else args.teacher
    for path in teachers or ():
        card = cards.read_card(path) if path else None
        if card and "class_names" in card:
            return tuple(card["class_names"])
    raise UserError(
        "unlabelled images need a teacher with a card.json beside it, which knows "
        "the classes; give one with --teacher"
    )


def command() -> str:
    return shlex.join(["python", "-m", "kerasdistill.cli", *sys.argv[1:]])


def passes_of(args: argparse.Namespace) -> int:
    """How many passes to label: as given, else the paper's, or few with --quick."""
    return args.passes or (QUICK_PASSES if args.quick else PAPER_PASSES)


def check_resident(args: argparse.Namespace) -> None:
    """Refuses to keep views in memory that a set of ours will hold on disk."""
    own = args.distillation_set is None  # the store of another is seen on opening
    needs_data = STORES[args.store or "images"].needs_data
    if args.resident == "always" and own and not needs_data:
        raise UserError("--resident always needs --store replay; add it")


def set_options(args: argparse.Namespace) -> dict[str, Any]:
    """How a student uses the finished set that was given."""
    return {
        "passes": args.passes,
        "members": args.members,
        "averaging": args.averaging or "mean-logits",
        "resident": args.resident,
    }


def chain_of(
    args: argparse.Namespace, student: base.StudentRecipe, image_data: ImageData
) -> Any:
    """The chain that leads to a student without a finished set."""
    from kerasdistill.experiments import chain

    paths = adapted_teachers(args, args.teacher or (), image_data)
    return chain.Chain(
        teachers=() if paths else requested.chain_teachers(args, image_data),
        teacher_paths=tuple(paths),
        student=student,
        passes=passes_of(args),
        store=args.store or "images",
        seed=args.seed,
        resident=args.resident,
    )
