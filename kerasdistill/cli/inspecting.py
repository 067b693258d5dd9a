"""inspect: a distillation set or a model; the data set is the one it knows."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdistill.cli import interpret
from kerasdistill.errors import UserError
from kerasdistill.reports import findings_text
from pipelines.datasets import ImageData
from pipelines.stored.integrity import read_manifest


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
        data = interpret.data_of_set(asked, place)
        if data is not None:
            _check(asked, data, read_manifest(place).dataset)
        found = inspection.of_set(
            place,
            data=data,
            workdir=asked.workdir,
            sample=asked.sample or inspection.SAMPLE,
            output=_output(asked, place),
        )
        return {**found, "text": findings_text.of_set(found)}
    model = inspection.model_at(asked.path)
    card = interpret.require_images(model, instead="evaluate tells its perplexity")
    if asked.sample:
        raise UserError("--sample is for distillation sets; a model sees a whole split")
    data = interpret.data_of(asked, card)
    _check(asked, data, card.get("dataset") or {})
    found = inspection.of_model(
        model,
        data=data,
        split=asked.split or "validation",
        teachers=asked.teacher or (),
        output=_output(asked, model),
    )
    return {**found, "text": findings_text.of_model(found)}


def _check(
    asked: argparse.Namespace, data: ImageData, identity: Mapping[str, Any]
) -> None:
    """UserError naming the field in which the data are not what was told of them."""
    here = data.identity()
    if differing := [name for name in identity if here.get(name) != identity[name]]:
        raise UserError(
            f"{asked.path} was made from other images than {data.name} has here (field "
            f"{differing[0]}); give its own --dataset, --split-seed and --quick"
        )


def _output(asked: argparse.Namespace, place: Path) -> Path:
    if asked.output:
        return Path(asked.output)
    place = place.resolve()
    in_run = place.is_file() or (place.parent / "recipe.json").is_file()
    return Path(asked.workdir) / f"inspect-{(place.parent if in_run else place).name}"
