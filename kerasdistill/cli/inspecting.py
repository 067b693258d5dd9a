"""inspect: a distillation set or a model; the data set is the one it knows."""

import argparse
from pathlib import Path
from typing import Any

from kerasdistill import cards
from kerasdistill.cli import interpret
from kerasdistill.errors import UserError
from kerasdistill.reports import findings_text
from pipelines import datasets
from pipelines.integrity import read_manifest


def run_inspect(asked: argparse.Namespace) -> dict[str, Any]:
    """inspect: pictures and numbers of what is in there."""
    from kerasdistill.experiments import inspection

    if not Path(asked.path).exists():
        raise UserError(f"{asked.path} does not exist; give a set, a run or a model")
    place = inspection.set_at(asked.path)
    if place is not None:
        if asked.teacher or asked.split:
            raise UserError(
                f"{asked.path} is a distillation set: --split and --teacher are for "
                "models; leave them out"
            )
        manifest = read_manifest(place)
        data = None
        if manifest.store == "replay":  # its views are made again from it
            data = _data(asked, manifest.dataset)
        found = inspection.of_set(
            place,
            data=data,
            workdir=asked.workdir,
            sample=asked.sample or inspection.SAMPLE,
            output=_output(asked, place),
        )
        return {**found, "text": findings_text.of_set(found)}
    model = inspection.model_at(asked.path)
    if asked.sample:
        raise UserError("--sample is for distillation sets; a model sees a whole split")
    found = inspection.of_model(
        model,
        data=_data(asked, (cards.read_card(model) or {}).get("dataset")),
        split=asked.split or "validation",
        teachers=asked.teacher or (),
        output=_output(asked, model),
    )
    return {**found, "text": findings_text.of_model(found)}


def _data(
    asked: argparse.Namespace, identity: dict[str, Any] | None
) -> datasets.ImageData:
    """What the set or model was made with, by its name where that is one to load."""
    if identity is not None and ":" not in asked.dataset:
        # A folder's name says nothing of where it is.
        given = vars(asked) | {
            "dataset": identity["name"],
            "split_seed": identity["split_seed"],
            "quick": asked.quick
            or identity["num_samples"] == datasets.QUICK_EXAMPLES["train"],
        }
        asked = argparse.Namespace(**given)
    data = interpret.data(asked)
    if identity is not None and data.identity() != identity:
        raise UserError(
            f"{asked.path} was made from other images than {data.name} has here; give "
            "its own --dataset, --split-seed and --quick"
        )
    return data


def _output(asked: argparse.Namespace, place: Path) -> Path:
    if asked.output:
        return Path(asked.output)
    place = place.resolve()
    in_run = place.is_file() or (place.parent / "recipe.json").is_file()
    return Path(asked.workdir) / f"inspect-{(place.parent if in_run else place).name}"
