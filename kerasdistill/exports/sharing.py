"""Exports and models at addresses: hf://USER/NAME of the Hugging Face Hub, and what
TensorFlow can open, such as gs://BUCKET/PATH.

An export is written and checked on this disk first, and copied up as it lies there. A
model that is taken from an address is copied down, and read as any other file is.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from kerasdistill.errors import UserError, one_line, reason
from kerasdistill.exports import cards, model_card
from kerasdistill.files import digest_of, replacing, replacing_directory
from kerasdistill.reading_files import open_archive, read_bytes

HUB = "hf://"
_README = "README.md"  # what the Hub shows of a model
# A model in a folder, as Keras saves it on the Hub.
_UNPACKED = ("config.json", "metadata.json", "model.weights.h5")


def is_address(path: str | Path) -> bool:
    """Whether it is no path of this disk."""
    return "://" in str(path)


def require(address: str) -> None:
    """Refuses what nothing could be put at, before anything is written.

    Raises:
        UserError: no address, or TensorFlow cannot open such; a package, a token or a
            name is missing.
    """
    if not is_address(address):
        raise UserError(
            f"{address} is no address; give hf://USER/NAME or gs://BUCKET/PATH"
        )
    if not address.startswith(HUB):
        _files_at(address)
    elif _repository(address) and not _hub().get_token():
        raise UserError(
            f"{address} needs a token of yours that may write; run `hf auth login` or "
            "set HF_TOKEN"
        )


def put(
    folder: str | Path,
    address: str,
    *,
    upload: Callable[[str, str], object] | None = None,
) -> None:
    """Copies an export to an address, where it replaces one of the same files.

    On the Hub it becomes a commit of the repository, which is made as a private one if
    there is none. Its README is the model card, and Keras loads it by its address if
    the export has the format keras.

    Args:
        folder: the export, with its `card.json`.
        address: hf://USER/NAME, or a folder that TensorFlow can write.
        upload: (folder, repository) -> anything, in place of the Hub.

    Raises:
        UserError: what `require` refuses; other files are there; it can't be written.
    """
    cards.check_files(folder)
    if address.startswith(HUB):
        repository = _repository(address)
        with tempfile.TemporaryDirectory() as scratch:
            ready = _for_the_hub(Path(folder), Path(scratch, "export"))
            _tried(address, lambda: (upload or _upload)(str(ready), repository))
    else:
        _tried(address, lambda: _copy_up(Path(folder), address.rstrip("/")))


def taken(
    address: str,
    folder: str | Path,
    *,
    download: Callable[[str], str] | None = None,
) -> Path:
    """A model at an address as a path on this disk; what lies there is not trusted.

    Args:
        address: hf://USER/NAME, or a model's file or folder that TensorFlow can read.
        folder: where it goes, in a folder of its own.
        download: repository -> its files' folder here, in place of the Hub.

    Raises:
        UserError: it is not there or can't be read, or a package is missing.
    """
    own = Path(folder, digest_of(address)[:12])
    if not address.startswith(HUB):
        return _tried(address, lambda: _copy_down(address.rstrip("/"), own))
    repository = _repository(address)
    here = Path(_tried(address, lambda: (download or _download)(repository)))
    if (file := here / "model.keras").is_file():
        return file
    if not (here / _UNPACKED[0]).is_file():
        return here
    return _tried(address, lambda: _packed(here, own))


def _repository(address: str) -> str:
    name = address.removeprefix(HUB).rstrip("/")
    if name.count("/") != 1 or not all(name.split("/")):
        raise UserError(f"{address} is no model of the Hub; give hf://USER/NAME")
    return name


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "hf:// needs the package huggingface_hub, which is not installed; pip "
            "install huggingface_hub"
        ) from error
    return huggingface_hub


def _upload(folder: str, repository: str) -> None:
    api = _hub().HfApi(library_name="kerasdistill")
    # Whoever made it decides who may see it: that it is public can't be taken back.
    api.create_repo(repository, exist_ok=True, private=True)
    about = "Export of kerasdistill"
    api.upload_folder(repo_id=repository, folder_path=folder, commit_message=about)


def _download(repository: str) -> str:
    return _hub().snapshot_download(repository, library_name="kerasdistill")


def _for_the_hub(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    shutil.copyfile(folder / model_card.NAME, copy / _README)
    if (model := copy / "model.keras").is_file():
        with open_archive(model, "model") as archive:
            archive.extractall(copy)
    return copy


def _packed(unpacked: Path, folder: Path) -> Path:
    """A model that Keras saved into a folder, as a file of the usual kind."""
    with replacing(folder / "model.keras") as beside, zipfile.ZipFile(beside, "w") as z:
        for name in _UNPACKED:
            z.writestr(name, read_bytes(unpacked / name, "model"))
    return folder / "model.keras"


def _files_at(address: str) -> list[str]:
    """The files below a folder at an address, by their names in it."""
    import tensorflow as tf

    def names() -> list[str]:
        if not tf.io.gfile.exists(address):
            return []
        return [
            f"{place}/{name}".removeprefix(f"{address}/")
            for place, _, files in tf.io.gfile.walk(address)
            for name in files
        ]

    return _tried(address, names)


def _copy_up(folder: Path, address: str) -> None:
    import tensorflow as tf

    gfile, card = tf.io.gfile, cards.CARD_NAME
    ours = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    theirs = _files_at(address)
    if others := sorted(set(theirs) - set(ours)):
        raise UserError(
            f"{address} holds {others[0]}, which is no part of this export; give "
            "another address, or remove it"
        )
    # Without a card it is no export, with one it is whole. Not every file system of
    # TensorFlow's writes over a file that is there.
    for name in sorted(theirs, key=lambda name: name != card):
        gfile.remove(f"{address}/{name}")
    for name in sorted(ours, key=lambda name: name == card):
        gfile.makedirs(f"{address}/{name}".rpartition("/")[0])
        gfile.copy(str(folder / name), f"{address}/{name}")


def _copy_down(address: str, folder: Path) -> Path:
    import tensorflow as tf

    gfile, (above, _, own) = tf.io.gfile, address.rpartition("/")
    if not gfile.exists(address):
        raise UserError(f"there is no model at {address}; see to its spelling")
    if gfile.isdir(address):
        if not gfile.exists(f"{address}/saved_model.pb"):  # it may be a whole bucket
            raise UserError(
                f"{address} is a folder but no SavedModel; give one, or a .keras file"
            )
        names, above, result = _files_at(address), address, folder
    else:
        beside = f"{above}/{cards.CARD_NAME}"
        names = [own, *([cards.CARD_NAME] if gfile.exists(beside) else [])]
        result = folder / own
    with replacing_directory(folder) as copy:
        for name in names:
            if ".." in PurePosixPath(name).parts:
                raise UserError(f"{address} holds a file {name!r}; it leads out of it")
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            gfile.copy(f"{above}/{name}", str(copy / name))
    return result


def _tried(address: str, act: Callable[[], Any]) -> Any:
    """What `act` gives; UserError for what the Hub's or TensorFlow's files raise."""
    try:
        return act()
    except UserError:
        raise
    except Exception as error:  # networks, tokens, rights: each library has its own
        raise UserError(
            f"{address} cannot be reached ({one_line(reason(error))[:200]}); see to "
            "its spelling, the network and your credentials"
        ) from error
