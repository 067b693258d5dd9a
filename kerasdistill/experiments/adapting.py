"""Teachers made elsewhere, written once as files that any step here can use."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.files import digest_of, sha256_file, sha256_files
from kerasdistill.models import loading, saved, trust, wrapping
from kerasdistill.models.digest import weights_digest
from kerasdistill.runs import RunDirectory
from pipelines.datasets import ImageData


def adapted(
    sources: Sequence[str],
    *,
    data: ImageData,
    workdir: str | Path,
    output: str = "logits",
    weights: Sequence[str] = (),
    scratch: str | Path | None = None,
) -> list[str]:
    """Paths of `.keras` files that take the data's images and give logits.

    A `.keras` file that does so already is left where it is. Any other teacher is
    written into a run folder of its own, inside layers that bring images to its size
    and colours, preprocess them, and turn probabilities into logits; its card and
    the manifests of its sets say so under "adapted".

    Args:
        sources: `.keras` files, SavedModel folders (within `trust.trusting` alone)
            or keras:NAME[@SIDE].
        data: whose images they are to label.
        workdir: where the run folders go.
        output: what files and SavedModels give, "logits" or "probabilities" (see
            `wrapping.FLOOR`).
        weights: a file for each keras:NAME, in order.
        scratch: where those go that are not in the workdir yet (None: there).

    Raises:
        UserError: a teacher cannot be loaded, or cannot take images.
    """
    if output not in wrapping.OUTPUTS:
        raise UserError(f"output {output!r} is not {' or '.join(wrapping.OUTPUTS)}")
    named = [each for each in sources if each.startswith(wrapping.APPLICATION)]
    if len(named) != len(weights):
        raise UserError(
            f"{len(named)} teachers are keras:NAME and {len(weights)} --weights were "
            "given; expected a file of weights for each"
        )
    for path in weights:
        if not Path(path).is_file():
            raise UserError(f"weights {path} do not exist; pass a .weights.h5 file")
    files = dict(zip(named, weights, strict=True))
    if len(files) != len(named):
        raise UserError("a keras:NAME is given twice; save one of them as .keras")
    how = {"data": data, "workdir": workdir, "output": output, "scratch": scratch}
    return [_adapted(each, files.get(each), **how) for each in sources]


def _adapted(
    source: str,
    weights: str | None,
    *,
    data: ImageData,
    workdir: str | Path,
    output: str,
    scratch: str | Path | None,
) -> str:
    if weights is not None:
        output = "logits"  # they are built without their softmax
    is_file = weights is None and not Path(source).is_dir()
    if is_file and output == "logits":
        model = loading.load(source)
        if model.input_shape[1:] == tuple(data.image_shape):
            return source
    shape = {"image_shape": list(data.image_shape), "num_classes": data.num_classes}
    request = {"teacher": _identity(source, weights), "output": output, **shape}
    run = RunDirectory.open(workdir, "adapted-teacher", request)
    if scratch is not None and run.results() is None:
        run = RunDirectory.open(scratch, "adapted-teacher", request)
    with run as folder:
        if (results := folder.results()) is not None:
            return results["model"]
        model, layers = _loaded(source, weights, data=data)
        if output == "probabilities" or not layers:
            how = {"image_shape": data.image_shape, "output": output}
            model, more = wrapping.adapt(model, **how)
            layers += more
        # What its own card says of classes and splits stays true.
        card = {} if weights else cards.read_card(source) or {}
        facts = {key: card[key] for key in ("class_names", "dataset") if key in card}
        # Images of another size are other bytes of the same split.
        facts.get("dataset", {}).pop("digest", None)
        adapted = {"source": Path(source).name, "layers": layers, **request}
        facts = {"kind": "teacher", **facts, **shape, "adapted": adapted}
        facts["weights_digest"] = weights_digest(model)
        path = cards.write(model, folder.path, facts)
        print(f"{path}: {source}, {', '.join(layers)}", file=sys.stderr)
        return folder.finish({"kind": "adapted-teacher", "model": str(path)})["model"]


def _loaded(
    source: str, weights: str | None, *, data: ImageData
) -> tuple[keras.Model, list[str]]:
    """The teacher, taking the data's images, and what was put around it."""
    shape = {"image_shape": data.image_shape}
    if weights is not None:
        shape["num_classes"] = data.num_classes
        return wrapping.application(source, **shape, weights=weights)
    if not Path(source).is_dir():
        return wrapping.adapt(loading.load(source), **shape)
    model, layers = wrapping.adapt(saved.model_of(source), **shape)
    return model, ["SavedModel", *layers]


def _identity(source: str, weights: str | None) -> dict[str, Any]:
    """What makes it this teacher and no other."""
    if weights is not None:
        return {"name": source, "weights": sha256_file(weights)}
    if Path(source).is_file():
        return {"sha256": sha256_file(source)}
    trust.require_trust(source)
    every = sha256_files(source)
    if not every:
        raise UserError(f"{source} is empty; pass a SavedModel's folder")
    return {"saved_model": str(Path(source).resolve()), "sha256": digest_of(every)}
