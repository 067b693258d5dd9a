"""A model's card: the facts beside it that a file of weights does not hold."""

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.exports import model_card
from kerasdistill.files import replacing, sha256_file, sha256_files, write_sealed_json
from kerasdistill.models import fast_layers, trust
from kerasdistill.models.digest import weights_digest
from kerasdistill.models.summary import num_trainable
from kerasdistill.reading_files import open_archive
from kerasdistill.runs import read_json

CARD_NAME = "card.json"
LANGUAGE_MODEL = model_card.LANGUAGE_MODEL


def save_model(
    model: keras.Model,
    directory: str | Path,
    *,
    kind: str,
    class_names: tuple[str, ...],
    dataset: dict[str, Any],
    recipe: dict[str, Any],
    **facts: Any,
) -> Path:
    """Writes `model.keras`, from pixels 0-255 to logits, and its `card.json`.

    Args:
        model: its `.keras` file's path is returned.
        directory: created if missing.
        kind: teacher, ensemble, student or baseline.
        class_names: in the order of the logits.
        dataset: `ImageData.identity()`.
        recipe: what the model was made by, as JSON values.
        facts: further JSON values, such as accuracies.
    """
    card = {
        "kind": kind,
        "class_names": list(class_names),
        "image_shape": list(model.input_shape[1:]),
        **_described(model, dataset, recipe),
        **facts,
    }
    return write(fast_layers.with_keras_layers(model), directory, card)


def save_language_model(
    model: keras.Model,
    directory: str | Path,
    *,
    words: tuple[str, ...],
    dataset: dict[str, Any],
    recipe: dict[str, Any],
    **facts: Any,
) -> Path:
    """As `save_model`, of a language model (see `models.lstm`), its words in the order
    of their ids; `dataset` is `TextData.identity()`, with the vocabulary's digest."""
    card = {
        "kind": LANGUAGE_MODEL,
        "words": list(words),
        "vocabulary_digest": dataset["vocabulary_digest"],
        **_described(model, dataset, recipe),
        **facts,
    }
    return write(model, directory, card)


def _described(
    model: keras.Model, dataset: dict[str, Any], recipe: dict[str, Any]
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "recipe": recipe,
        "num_params": num_trainable(model),
        "weights_digest": weights_digest(model),
    }


def write(model: keras.Model, directory: str | Path, card: dict[str, Any]) -> Path:
    """Writes `model.keras`, then `card.json` beside it; returns the former's path."""
    path = Path(directory) / "model.keras"
    with replacing(path) as beside:
        save(model, beside)
    write_sealed_json(path.with_name(CARD_NAME), card)
    return path


def save(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file; equal models become equal files.

    So runs that are named by their teachers' files are found again. Keras writes into
    the archive when it was saved, and addresses in memory as ids of shared objects.
    """
    model.save(path)
    with open_archive(path, "model") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(content["metadata.json"])
    metadata["date_saved"] = "1980-01-01@00:00:00"
    content["metadata.json"] = json.dumps(metadata).encode()
    config = json.loads(content["config.json"])
    _number_objects(config, {})
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(zipfile.ZipInfo(name), value)


def _number_objects(value: Any, numbers: dict[int, int]) -> None:
    """Replaces the ids of shared objects by 1, 2 and so on, in their order."""
    if isinstance(value, dict):
        if (own := value.get("shared_object_id")) is not None:
            value["shared_object_id"] = numbers.setdefault(own, len(numbers) + 1)
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _number_objects(each, numbers)


def write_folder_card(
    folder: str | Path, card: dict[str, Any], *, workdir: str | Path | None = None
) -> None:
    """Writes `card.json` into an export's folder, with digests of its other files, and
    the same for people, to be edited at will: MODEL_CARD.md. A SavedModel is trusted in
    `workdir` from then on (`trust.remember`)."""
    found = sha256_files(folder)
    files = {name: found[name] for name in found if name not in trust.CARDS}
    trust.remember(files, workdir=workdir)
    page = Path(folder) / model_card.NAME
    page.write_text(model_card.text(card), encoding="utf-8")
    write_sealed_json(Path(folder) / CARD_NAME, {**card, "files": files})


def check_files(folder: str | Path) -> None:
    """StaleArtifactError if a file of an export is not the one that its card lists."""
    card = read_card(folder) or {}
    for name, digest in card.get("files", {}).items():
        path = Path(folder) / name
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not path.is_file() or sha256_file(path) != digest:
            raise StaleArtifactError(
                f"{folder}: file {name} is missing or damaged (field files of its "
                f"{CARD_NAME}); export the model again"
            )


def own_card(path: str | Path, model: keras.Model) -> dict[str, Any] | None:
    """`read_card`; StaleArtifactError if it is not about the model's weights."""
    card = read_card(path)
    digest = card.get("weights_digest") if card else None
    if digest is not None and digest != weights_digest(model):
        raise StaleArtifactError(
            f"model {path}: {CARD_NAME} beside it describes other weights (field "
            "weights_digest differs); put the model's own card there"
        )
    return card


def read_card(model_path: str | Path) -> dict[str, Any] | None:
    """The card beside a model file (or inside a SavedModel), None without one."""
    path = Path(model_path)
    if not path.exists():  # such as keras:NAME
        return None
    path = path / CARD_NAME if path.is_dir() else path.with_name(CARD_NAME)
    if not path.exists():
        return None
    card = read_json(path)
    if not isinstance(card, dict):
        raise UserError(f"{path} is not a JSON object; repair or remove it")
    return card
