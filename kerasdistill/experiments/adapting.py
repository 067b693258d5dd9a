"""Models made elsewhere, brought to pixels 0-255 and logits: in memory, or once and for
all as files that any step here can use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.files import digest_of, sha256_file, sha256_files
from kerasdistill.models import applications, loading, saved, trust, wrapping
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.wrapping import Convention
from kerasdistill.runs import RunDirectory
from kerasdistill.terminal import say
from pipelines import checking
from pipelines.datasets import ImageData


@dataclass(frozen=True)
class Brought:
    """How models that somebody brings are read.

    Attributes:
        convention: what files and SavedModels take and give.
        weights: a file for each keras:NAME, in order.
        force: accept what is only suspicious about them; see `checking.check_teacher`.
        declared: whether somebody said what they give; see `looked_at`.
    """

    convention: Convention = Convention()
    weights: Sequence[str] = ()
    force: bool = False
    declared: bool = False

    def files(self, sources: Sequence[str]) -> dict[str, str]:
        """The weights of each keras:NAME among the sources; UserError if some lack
        theirs, or are not there."""
        named = [each for each in sources if each.startswith(applications.PREFIX)]
        if len(named) != len(self.weights):
            raise UserError(
                f"{len(named)} models are keras:NAME and {len(self.weights)} `weights` "
                "were given; expected a file of weights for each"
            )
        for path in self.weights:
            if not Path(path).is_file():
                raise UserError(f"weights {path} do not exist; pass a .weights.h5 file")
        files = dict(zip(named, self.weights, strict=True))
        if len(files) != len(named):
            raise UserError("a keras:NAME is given twice; save one of them as .keras")
        return files


AS_THEY_ARE = Brought()


def read(
    source: str | Path,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    brought: Brought = AS_THEY_ARE,
) -> tuple[keras.Model, list[str]]:
    """A model that takes images of `image_shape` and gives logits, and what was put
    around the one at `source`, in words; nothing is written.

    Args:
        source: a `.keras` or `.h5` file, a SavedModel's folder (one that
            `trust.trusting` lets in) or keras:NAME[@SIDE].
        image_shape, num_classes: of the data that it is for.
        brought: how to read it.

    Raises:
        UserError: it cannot be loaded, or takes no images.
        StaleArtifactError: the card beside it describes other weights.
    """
    source, convention, before = str(source), brought.convention, []
    shape = {"image_shape": image_shape, "num_classes": num_classes}
    if source.startswith(applications.PREFIX):
        weights = brought.files([source])[source]
        return applications.application(source, **shape, weights=weights)
    if Path(source).is_dir():
        cards.check_files(source)
        model, before = saved.model_of(source, head=convention.head), ["SavedModel"]
        convention = replace(convention, head=None)  # it is the one output now
    else:
        model = loading.load(source)
        cards.own_card(source, model)
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    how = {"convention": convention, "preprocess": converter}  # KerasHub's
    model, layers = wrapping.adapt(model, **shape, **how)
    return model, [*before, *layers]


def looked_at(
    source: str | Path, *, data: ImageData, brought: Brought = AS_THEY_ARE
) -> keras.Model:
    """As `read`, of a model that is only looked at: what is suspicious about it, and
    what was put around it, is printed.

    One of which nobody declared what it gives is read as giving the probabilities or
    sigmoids that it gives.
    """
    card = cards.read_card(source) or {}
    shape = {"image_shape": data.image_shape, "num_classes": data.num_classes}
    model, layers = read(source, **shape, brought=brought)
    require_classes(model, source, data)
    kind = "logits" if brought.declared else checking.kind_of(model, data=data)
    if kind != "logits":
        convention = replace(brought.convention, output=kind)
        brought = replace(brought, convention=convention)
        model, layers = read(source, **shape, brought=brought)
    if layers:
        say(f"{source}: {', '.join(layers)}")
        card = {**card, "adapted": vars(brought.convention)}
    how = {"data": data, "facts": card, "force": True, "tell": True}
    checking.check_values(model, f"model {source}", **how)
    return model


def require_classes(model: keras.Model, source: str | Path, data: ImageData) -> None:
    """UserError unless the model gives a logit for each class of the data."""
    if model.output_shape[1] != data.num_classes:
        raise UserError(
            f"{source} gives {model.output_shape[1]} logits, {data.name} has "
            f"{data.num_classes} classes; name its own data set with `data`"
        )


def adapted(
    sources: Sequence[str],
    *,
    data: ImageData,
    workdir: str | Path,
    brought: Brought = AS_THEY_ARE,
    scratch: str | Path | None = None,
) -> list[str]:
    """Paths of `.keras` files that take the data's images and give logits.

    A `.keras` file that does so already is left where it is. Any other model is
    written into a run folder of its own, inside layers that bring images to its size,
    colours and scale, preprocess them, and turn what it gives into logits; its card
    and the manifests of its sets say so under "adapted". All are tried on images of
    the data (`checking.check_teacher`) before anything is written.

    Args:
        sources: see `read`.
        data: whose images they are to label.
        workdir: where the run folders go.
        brought: how to read them.
        scratch: where those go that are not in the workdir yet (None: there).

    Raises:
        UserError: a model cannot be loaded, cannot take images, or gives values that
            are not those it was said to give.
    """
    files = brought.files(sources)
    how = {"data": data, "workdir": workdir, "brought": brought, "scratch": scratch}
    return [_adapted(each, files.get(each), **how) for each in sources]


def _adapted(
    source: str,
    weights: str | None,
    *,
    data: ImageData,
    workdir: str | Path,
    brought: Brought,
    scratch: str | Path | None,
) -> str:
    convention = Convention() if weights is not None else brought.convention
    own = (weights,) if weights else ()
    brought = replace(brought, convention=convention, weights=own)
    shape = {"image_shape": data.image_shape, "num_classes": data.num_classes}
    model = None
    if weights is None and convention == Convention() and not Path(source).is_dir():
        model, layers = read(source, **shape, brought=brought)
        if not layers and Path(source).suffix == ".keras":
            return source
    request = _request(source, weights, convention, data)
    run = RunDirectory.open(workdir, "adapted-teacher", request)
    if scratch is not None and run.results() is None:
        run = RunDirectory.open(scratch, "adapted-teacher", request)
    with run as folder:
        if (results := folder.results()) is not None:
            return results["model"]
        if model is None:
            model, layers = read(source, **shape, brought=brought)
        require_classes(model, source, data)
        how = {**request, "source": Path(source).name, "layers": layers}
        facts = {**_facts(source, weights), "adapted": how}
        how = {"data": data, "facts": facts, "force": brought.force}
        checking.check_values(model, f"teacher {source}", **how)
        sizes = {name: request[name] for name in ("image_shape", "num_classes")}
        facts |= {**sizes, "weights_digest": weights_digest(model)}
        path = cards.write(model, folder.path, {"kind": "teacher", **facts})
        say(f"{path}: {source}, {', '.join(layers)}")
        return folder.finish({"kind": "adapted-teacher", "model": str(path)})["model"]


def _request(
    source: str, weights: str | None, convention: Convention, data: ImageData
) -> dict[str, Any]:
    """What makes it this teacher for these images and no other."""
    shape = {"image_shape": list(data.image_shape), "num_classes": data.num_classes}
    request = {"teacher": _identity(source, weights), "output": convention.output}
    if convention.input != "0-255":
        request["input"] = convention.input
    if convention.head is not None:
        request["head"] = convention.head
    return request | shape


def _facts(source: str, weights: str | None) -> dict[str, Any]:
    """What the model's own card says of classes and splits, which stays true."""
    card = {} if weights else cards.read_card(source) or {}
    facts = {key: card[key] for key in ("class_names", "dataset") if key in card}
    # Images of another size are other bytes of the same split.
    facts.get("dataset", {}).pop("digest", None)
    return facts


def _identity(source: str, weights: str | None) -> dict[str, Any]:
    """What makes it this teacher and no other."""
    if weights is not None:
        return {"name": source, "weights": sha256_file(weights)}
    if not Path(source).is_dir():
        return {"sha256": sha256_file(loading.require_file(source))}
    saved.require_saved_model(source)
    trust.require_trust(source)
    digest = digest_of(sha256_files(source))
    return {"saved_model": str(Path(source).resolve()), "sha256": digest}
