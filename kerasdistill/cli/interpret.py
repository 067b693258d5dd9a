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

from kerasdistill import terminal
from kerasdistill.cli import arguments, requested
from kerasdistill.cli.distilling_options import TAKE_UNLABELLED
from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.recipes import base
from pipelines import datasets
from pipelines.datasets import ImageData
from pipelines.stored.stores import STORES

QUICK_PASSES, PAPER_PASSES = 24, 160


def data(args: argparse.Namespace, *, set_path: str | None = None) -> ImageData:
    """The data set, at the size that `image_shape` says; unlabelled images take their
    class names from a teacher, or from the distillation set at `set_path`."""
    others: dict[str, Any] = {"image_shape": image_shape(args, set_path=set_path)}
    if args.dataset.startswith(datasets.UNLABELLED):
        others["class_names"] = _class_names(args, set_path)
    return _load(args, **others)


def image_shape(
    args: argparse.Namespace, *, set_path: str | None = None
) -> tuple[int, int, int]:
    """What images are brought to: as the command line says, else as the distillation
    set at `set_path` or the first teacher has them, else 32x32x3."""
    if set_path is not None and args.image_size is None:
        from kerasdistill.running import opening

        return arguments.image_shape(
            args, tuple(opening.manifest_of(set_path).image_shape)
        )
    for path in (*_teachers(args), getattr(args, "student", None)):
        if path and (shape := _shape_of(args, path)) is not None:
            return arguments.image_shape(args, shape)
    return arguments.image_shape(args)


def _shape_of(args: argparse.Namespace, path: str) -> tuple[int, int, int] | None:
    """The images that a model takes, by its card; else, of its file, their size.

    Pictures in folders have no size of their own; those of other data sets are not
    enlarged, because layers around the model do that.
    """
    from kerasdistill.models import loading

    card = cards.read_card(path) or {}
    if card.get("image_shape"):
        return tuple(card["image_shape"])
    shape = loading.image_shape(path)
    if shape is None or shape[0] != shape[1]:
        return None
    channels = shape[2] if args.verb in ("evaluate", "inspect", "export") else 3
    side = shape[0] if ":" in args.dataset else min(shape[0], 32)
    return (side, side, channels)


def _teachers(args: argparse.Namespace) -> Sequence[str]:
    given = getattr(args, "teacher", None) or ()
    return [given] if isinstance(given, str) else given


def _load(args: argparse.Namespace, **others: Any) -> ImageData:
    options = {"name": args.dataset, "data_dir": args.data_dir, "quick": args.quick}
    options |= {"split_seed": args.split_seed, "strict": args.strict}
    options |= {"drop_duplicates": args.drop_duplicates}
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
        brought=brought(args),
    )


def brought(args: argparse.Namespace) -> Any:
    """How models that were made elsewhere are read."""
    from kerasdistill.experiments.adapting import Brought
    from kerasdistill.models.wrapping import Convention

    convention = Convention(
        output=args.teacher_output or "logits",
        input=args.teacher_input or "0-255",
        head=args.teacher_head,
    )
    how = {"force": getattr(args, "force", False)}
    how["declared"] = args.teacher_output is not None
    return Brought(convention, args.weights, **how)


def data_of_model(
    args: argparse.Namespace, path: str | Path, card: Mapping[str, Any]
) -> ImageData:
    """The images that a model is for, by its card and its own input; UserError where
    there is no model."""
    if not (Path(path).exists() or str(path).startswith("keras:")):
        raise UserError(f"model {path} does not exist; pass a file or a folder")
    shape = _shape_of(args, str(path))
    return data_of(args, {**card, "image_shape": shape} if shape else card)


def data_of(args: argparse.Namespace, facts: Mapping[str, Any]) -> ImageData:
    """The images that a model or a set was made from.

    `facts` are "dataset", "class_names" and "image_shape" of a card or manifest, as far
    as it has them; the command line says the rest, and which folder images lie in.
    """
    identity = facts.get("dataset") or {}
    others = {"class_names": tuple(facts.get("class_names", ()))}
    default = tuple(facts.get("image_shape") or (32, 32, 3))
    others["image_shape"] = arguments.image_shape(args, default)
    if identity.get("drop_duplicates"):
        others["drop_duplicates"] = True
    chosen = args.dataset_given and args.dataset != identity.get("name")
    if not chosen and {"name", "split_seed"} <= identity.keys():
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
    for path in _teachers(args):
        card = cards.read_card(path) if path else None
        if card and "class_names" in card:
            return tuple(card["class_names"])
    raise UserError(
        "unlabelled images need a teacher with a card.json beside it, which knows "
        "the classes; give one with --teacher"
    )


def command() -> str:
    return f"{terminal.program()} {shlex.join(sys.argv[1:])}"


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
    args: argparse.Namespace,
    student: base.StudentRecipe,
    image_data: ImageData,
    *,
    older_student: base.StudentRecipe | None = None,
) -> Any:
    """The chain that leads to a student without a finished set; see `chain.Chain`."""
    from kerasdistill.experiments import chain

    paths = adapted_teachers(args, args.teacher or (), image_data)
    return chain.Chain(
        teachers=() if paths else requested.chain_teachers(args, image_data),
        teacher_paths=tuple(paths),
        student=student,
        older_student=older_student,
        passes=passes_of(args),
        store=args.store or "images",
        seed=args.seed,
        resident=args.resident,
    )
