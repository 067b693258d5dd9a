"""The super teacher: the mean of its members' logits (fact sheet A1)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasdistill import cards, evaluation
from kerasdistill.errors import UserError
from kerasdistill.files import sha256_file
from kerasdistill.models import ensemble, loading
from kerasdistill.runs import RunDirectory
from pipelines import scoring
from pipelines.datasets import ImageData


def run(
    member_paths: Sequence[str | Path],
    *,
    data: ImageData,
    workdir: str | Path,
    force: bool = False,
) -> dict[str, Any]:
    """Joins the members into one model file and scores it.

    Args:
        member_paths: `.keras` files; all of them become members.
        data: their data set; members with another class order or split are refused.
        workdir: where the run folder goes.
        force: accept members without a card that disagree with the labels.

    Returns:
        The content of `results.json`.
    """
    paths = [Path(path) for path in member_paths]
    if len({path.resolve() for path in paths}) != len(paths):
        raise UserError("a teacher is named twice; name every member once")
    members = [loading.load(path) for path in paths]
    for member, path in zip(members, paths, strict=True):
        scoring.check_teacher(member, path, data=data, force=force)
    request = {
        "members": [sha256_file(path) for path in paths],
        "averaging": "mean-logits",
        "dataset": data.identity(),
    }
    with RunDirectory.open(workdir, "ensemble", request) as folder:
        if (found := folder.results()) is not None:
            return found
        print(f"{folder.path}: scoring {len(paths)} members", file=sys.stderr)
        model = ensemble.build(members)
        logits = evaluation.predict(model, data.validation.images)
        val_accuracy = evaluation.accuracy(logits, data.validation.labels)
        saved = cards.save_model(
            model,
            folder.path,
            kind="ensemble",
            class_names=data.class_names,
            dataset=data.identity(),
            recipe=request,
            val_accuracy=val_accuracy,
        )
        test_logits = evaluation.predict(model, data.test.images)
        member_cards = [cards.read_card(path) or {} for path in paths]
        return folder.finish(
            {
                "kind": "ensemble",
                "model": str(saved),
                "members": [str(path) for path in paths],
                "member_val_accuracy": [
                    card.get("val_accuracy") for card in member_cards
                ],
                "averaging": "mean-logits",
                "num_params": cards.read_card(saved)["num_params"],
                "val_accuracy": val_accuracy,
                "test_accuracy": evaluation.accuracy(test_logits, data.test.labels),
                "dataset": data.identity(),
            }
        )
