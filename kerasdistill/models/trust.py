"""Whether SavedModels, which may run any code, are trusted: by where they come from.

What a run or an export here wrote is known by its digest, which lies in the workdir;
nothing that a stranger's folder brings along counts. Any other needs a word.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kerasdistill.errors import UserError
from kerasdistill.files import digest_of, sha256_file, sha256_files, why_unwritable

FOLDER = ".saved_models"  # in a workdir: an empty file for each that was written here
GRAPH = "saved_model.pb"
CARDS = ("card.json", "MODEL_CARD.md")  # may be edited: nothing of them is run


class _Rule(NamedTuple):
    every: bool = False
    workdir: Path | None = None


_NO_RULE = _Rule()
_RULE = contextvars.ContextVar("trusted SavedModels", default=_NO_RULE)


@contextlib.contextmanager
def trusting(
    saved_models: bool = False, *, workdir: str | Path | None = None
) -> Iterator[None]:
    """Within it, models may hold SavedModels that runs in `workdir` wrote; any at all,
    if `saved_models` is true."""
    before = _RULE.set(_Rule(saved_models, workdir and Path(workdir)))
    try:
        yield
    finally:
        _RULE.reset(before)


def rule() -> dict[str, Any]:
    """The arguments of the innermost `trusting`, as JSON values: for other processes
    that work on the same."""
    every, workdir = _RULE.get()
    return {"saved_models": every, "workdir": workdir and str(workdir)}


def remember(files: Mapping[str, str], *, workdir: str | Path | None) -> None:
    """Notes in the workdir that a SavedModel was written here; `files` are digests of
    its files, by their names in it.

    That of `trusting` comes before `workdir`. In one that is read-only nothing is
    noted.
    """
    workdir = _RULE.get().workdir or workdir
    if GRAPH in files and workdir is not None and why_unwritable(workdir) is None:
        note = Path(workdir, FOLDER, _name(files))
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()  # empty, and so whole at once


def require_trust(path: str | Path) -> None:
    """UserError unless the SavedModel at `path` is one that `trusting` lets in; to be
    asked right before it is loaded."""
    rule, path = _RULE.get(), Path(path)
    if rule.every or (rule.workdir is not None and _is_known(path, rule.workdir)):
        return
    places = (path / "model.keras", path.parent / "model.keras")
    beside = next((f"give {each}, or " for each in places if each.is_file()), "")
    raise UserError(
        f"{path} is a SavedModel, which may run any code, and none that a run in this "
        f"workdir wrote; {beside}if you trust it, add `trusting(saved_models=True)`"
    )


def _is_known(path: Path, workdir: Path) -> bool:
    """Whether a folder is to the byte what was written, and holds nothing besides."""
    graph, known = path / GRAPH, workdir / FOLDER
    # A large folder that is none of ours is not read to its end.
    if not graph.is_file() or not any(known.glob(f"{_short(sha256_file(graph))}-*")):
        return False
    inside = list(path.rglob("*"))
    if any(each.is_symlink() or not _is_ordinary(each) for each in inside):
        return False
    return (known / _name(sha256_files(path))).is_file()


def _is_ordinary(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _name(files: Mapping[str, str]) -> str:
    run = {name: digest for name, digest in files.items() if name not in CARDS}
    return f"{_short(files[GRAPH])}-{digest_of(run)}"


def _short(digest: str) -> str:
    return digest[:16]
