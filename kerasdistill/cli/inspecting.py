"""inspect: a distillation set or a model; the data set is the one it knows."""

import argparse
from pathlib import Path
from typing import Any

from kerasdistill import boards
from kerasdistill.cli import interpret
from kerasdistill.errors import UserError
from kerasdistill.files import why_unwritable
from kerasdistill.reports import findings_text, names
from kerasdistill.runs import read_json
from kerasdistill.terminal import fit
from pipelines.datasets import ImageData
from pipelines.stored.integrity import read_manifest


def run_inspect(args: argparse.Namespace) -> dict[str, Any]:
    """inspect: pictures and numbers of what is in there."""
    from kerasdistill.experiments import inspection

    if not Path(args.path).exists():
        raise UserError(f"{args.path} does not exist; give a set, a run or a model")
    stored = inspection.set_at(args.path)
    if stored is not None:
        if args.teacher or args.split:
            raise UserError(
                f"{args.path} is a distillation set: --split and --teacher are for "
                "models; leave them out"
            )
        data = interpret.data_of_set(args, stored)
        if data is not None:
            _check(args, data, read_manifest(stored).dataset)
        findings = inspection.of_set(
            stored,
            data=data,
            workdir=args.workdir,
            sample=args.sample or inspection.SAMPLE,
            **_places(args, stored),
        )
        return {**findings, "text": findings_text.of_set(fit(findings))}
    model = inspection.model_at(args.path)
    card = interpret.require_images(model, instead="evaluate tells its perplexity")
    if args.sample:
        raise UserError("--sample is for distillation sets; a model sees a whole split")
    data = interpret.data_of_model(args, model, card)
    _check(args, data, card.get("dataset") or {})
    findings = inspection.of_model(
        model,
        data=data,
        split=args.split or "validation",
        teachers=args.teacher or (),
        **_places(args, model),
        brought=interpret.brought(args),
    )
    return {**findings, "text": findings_text.of_model(fit(findings))}


def _check(args: argparse.Namespace, data: ImageData, identity: dict) -> None:
    """UserError naming the field in which the data differ from their description."""
    here = data.identity()
    if differing := [name for name in identity if here.get(name) != identity[name]]:
        raise UserError(
            f"{args.path} was made from other images than {data.name} has here (field "
            f"{differing[0]}); give its own --dataset, --split-seed and --quick"
        )


def _places(args: argparse.Namespace, path: Path) -> dict[str, Path]:
    """Where pictures go, and what TensorBoard shows: with the curves of the run."""
    if args.output:
        return {"output": Path(args.output)}
    path = path.resolve()
    in_run = path.is_file() or (path.parent / "recipe.json").is_file()
    if (reason := why_unwritable(args.workdir)) is not None:
        raise UserError(f"{reason}, or name a folder for the pictures with --output")
    run, workdir = path.parent if in_run else path, Path(args.workdir)
    output = workdir / f"inspect-{run.name}"
    board = workdir / boards.FOLDER / output.name
    inside = in_run and run.parent == workdir.resolve()
    if inside and (run / "results.json").is_file():
        results = read_json(run / "results.json")
        name = names.readable(results["kind"], results)
        board = boards.claim(workdir / run.name, name) / "inspect"
    return {"output": output, "board": board}
