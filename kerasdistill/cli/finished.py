"""The answers of finished commands, kept so that a repeated one is answered at once.

A long verb that ends well writes its answer to `.finished` in the workdir, beside what
every file that it read or wrote looked like: size, times and inode. The same command
is answered from there while all of them still look so; anything else, and whatever is
in doubt, goes the normal way.
"""

import argparse
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kerasdistill
from kerasdistill import files, machine, packages
from kerasdistill.errors import UserError
from kerasdistill.reading_files import read_bytes
from kerasdistill.runs import environment
from kerasdistill.terminal import say

FOLDER = ".finished"
VERBS = ("teacher", "ensemble", "precompute", "student", "baseline")
VERBS += ("born-again", "language-model")
# Options whose answer depends on more than files, or that look at suspicious ones.
_NEVER = ("trials", "space", "search", "from_search", "chief", "worker", "extend")
_NEVER += ("plan", "force", "sample", "custom_objects")
# Options that must name files. Any other that names one is looked at too, but these.
_READ = ("teacher", "distillation_set", "recipe", "student", "weights")
_NO_INPUTS = ("verb", "workdir", "dataset", "data_dir", "output", "tracker")
_UNIMPORTANT = ("workdir", "json", "no_color", "own_options", "dataset_given")
_UNIMPORTANT += ("tracker",)
# Every process that opens a run's folder writes these anew.
_VOLATILE = ("lock", "environment.json")


@dataclass(frozen=True)
class Finished:
    """Where a command's answer is kept, and how what it reads looks now."""

    file: Path
    workdir: str
    inputs: dict[str, Any]

    def answer(self) -> dict[str, Any] | None:
        """What the command printed when it finished; None if anything has changed."""
        try:
            kept = json.loads(read_bytes(self.file, "json"))
            sealed, kept = files.SEAL in kept, files.unsealed(kept, where=self.file)
            same = sealed and kept["inputs"] == self.inputs
            if not same or self._looks(kept["outputs"]) != kept["outputs"]:
                return None
            answer = self._moved(kept)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError):
            return None
        if answer is not None:
            say("finished before; no file of it has changed")
        return answer

    def keep(self, answer: dict[str, Any]) -> None:
        """Keeps the answer, if what it came from did not change on the way."""
        root, outputs = os.path.abspath(self.workdir), set()
        for text in _texts(answer):
            if os.sep in text and "\n" not in text and os.path.exists(text):
                name = os.path.relpath(text, root).split(os.sep)[0]  # a run's folder
                outputs.add(os.path.abspath(text) if name in ("..", ".") else name)
        try:
            record = {
                "answer": json.dumps(answer),  # in its own order
                "workdir": self.workdir,
                "absolute": root,
                "inputs": self.inputs,
                "outputs": self._looks(sorted(outputs)),
            }
            files.remove_partial(self.file.parent)  # left by killed processes
            files.write_sealed_json(self.file, record)
        except (OSError, ValueError, TypeError):
            return  # such as a workdir that is read-only: the next call takes longer

    def _looks(self, names: Any) -> dict[str, str]:
        """Of run folders, by their names in the workdir, and of other paths."""
        return {name: _look(Path(self.workdir, name), _VOLATILE) for name in names}

    def _moved(self, kept: dict[str, Any]) -> dict[str, Any] | None:
        """The answer with paths in the workdir as it is named now."""
        answer, before = json.loads(kept["answer"]), kept["workdir"]
        if before == self.workdir:
            return answer
        if before == os.curdir:
            return None  # names in it say nothing of the folder

        def moved(text: str) -> str:
            inside = text.removeprefix(before + os.sep)
            return text if inside == text else str(Path(self.workdir, inside))

        answer = _mapped(answer, moved)
        same = kept["absolute"] == os.path.abspath(self.workdir)
        left = any(kept["absolute"] + os.sep in text for text in _texts(answer))
        return answer if same or not left else None


def of(args: argparse.Namespace) -> Finished | None:
    """Where the answer of this command line is kept; None if it is not to be."""
    options = {n: value for n, value in vars(args).items() if n not in _UNIMPORTANT}
    if args.verb not in VERBS or any(options.get(name) for name in _NEVER):
        return None
    if any("://" in text for text in (*_texts(options), args.workdir)):
        return None
    workdir = str(Path(args.workdir))

    def inside(text: str) -> str:
        """Paths in the workdir by their names in it."""
        part = os.path.relpath(text, workdir) if os.path.exists(text) else ".."
        return text if part.startswith("..") else f"workdir:{part}"

    data = _data(args)
    places = [os.path.realpath(path) for path in data]
    key = files.digest_of({"options": _mapped(options, inside), "data": places})
    try:
        inputs = _inputs(args, data)
    except (OSError, ValueError, UserError):
        return None
    return Finished(Path(workdir, FOLDER, f"{key[:24]}.json"), workdir, inputs)


def _inputs(args: argparse.Namespace, data: list[Path]) -> dict[str, Any]:
    """What decides on the answer beside the command line: files and installation."""
    code = Path(kerasdistill.__file__).parents[1]
    ours = [code / name for name in ("kerasdistill", "pipelines", "tuners")]
    inputs: dict[str, Any] = {
        "version": kerasdistill.__version__,
        "code": [_look(package, ("__pycache__",)) for package in ours],
        "environment": {k: v for k, v in environment().items() if k != "command"},
        "more_packages": [packages.version(n) for n in ("sklearn", "PIL")],
        "machine": [machine.has_gpu(), machine.has_bfloat16()],
        "variables": [*map(os.environ.get, ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES"))],
        "data": [_look(path) for path in data],
    }
    for name in sorted(vars(args).keys() - set(_NO_INPUTS)):
        texts = _texts(getattr(args, name))
        paths = [Path(t) for t in texts if name in _READ or os.path.exists(t)]
        # These are read with a model.
        beside = [p.with_name(n) for p in paths for n in ("card.json", "results.json")]
        looks = [_look(path, _VOLATILE) for path in paths]
        inputs[name] = looks + [_look(p) if p.exists() else None for p in beside]
    return inputs


def _data(args: argparse.Namespace) -> list[Path]:
    """The files or folders that the data are read from; none for those embedded."""
    if args.verb == "language-model":
        return sorted(Path(args.data_dir or os.devnull).glob("*.txt"))
    if args.dataset == "digits":
        return []
    kind, colon, path = args.dataset.partition(":")
    if colon and kind in ("folder", "unlabelled"):
        return [Path(path).expanduser()]
    root = args.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return [Path(root).expanduser() / kind.split("/")[0]]


def _look(path: Path, ignored: tuple[str, ...] = ()) -> str:
    """Digest of a file's size, times and inode, or of all files' below a folder.

    Writing to a file, replacing it or setting its times changes the digest; moving a
    folder within a file system does not. Names in `ignored` don't count, at any depth.

    Raises:
        OSError: it is not there, cannot be read, or holds a link to a folder.
    """
    return files.digest_of(_seen(path, ignored))


def _seen(path: str | Path, ignored: tuple[str, ...]) -> list[int] | dict[str, Any]:
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        times = [status.st_mtime_ns, status.st_ctime_ns]
        return [status.st_size, *times, status.st_ino, status.st_dev]
    with os.scandir(path) as entries:
        children = [entry for entry in entries if entry.name not in ignored]
    if any(entry.is_symlink() and entry.is_dir() for entry in children):
        raise OSError(f"{path} holds a link to a folder, which may lead in circles")
    return {entry.name: _seen(entry.path, ignored) for entry in children}


def _texts(value: Any) -> list[str]:
    """All texts among nested values."""
    texts: list[str] = []
    _mapped(value, texts.append)
    return texts


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """Nested values with all texts changed."""
    if isinstance(value, dict):
        return {name: _mapped(each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
