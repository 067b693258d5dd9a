"""The answers of finished commands, kept so that a repeated one is answered at once.

A long verb that ends well writes its answer to `.finished` in the workdir, beside what
every file that it read or wrote looked like: size, times and inode. The same command
is answered from there while all of them still look so; anything else, and whatever is
in doubt, goes the normal way.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import kerasdistill
from kerasdistill import machine
from kerasdistill.cli.fingerprints import look
from kerasdistill.errors import UserError
from kerasdistill.files import (
    SEAL,
    digest_of,
    remove_partial,
    unsealed,
    write_sealed_json,
)
from kerasdistill.runs import environment

FOLDER = ".finished"
VERBS = ("teacher", "ensemble", "precompute", "student", "baseline")
VERBS += ("born-again", "language-model")
# Options whose answer depends on more than files, or that look at suspicious ones.
_NEVER = ("trials", "space", "search", "from_search", "chief", "worker", "extend")
_NEVER += ("plan", "dry_run", "force", "sample", "custom_objects")
# Options that must name files. Any other that names one is looked at too, but these.
_READ = ("teacher", "distillation_set", "recipe", "student", "weights")
_NO_INPUTS = ("verb", "workdir", "dataset", "data_dir", "output")
_VARIABLES = ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES")
_UNIMPORTANT = ("workdir", "json", "own_options")
# Every process that opens a run's folder writes these anew.
_VOLATILE = ("lock", "environment.json")
_BESIDE = ("card.json", "results.json")  # what is read with a model


@dataclass(frozen=True)
class Finished:
    """Where a command's answer is kept, and how what it reads looks now."""

    file: Path
    workdir: str
    inputs: dict[str, Any]

    def answer(self) -> dict[str, Any] | None:
        """What the command printed when it finished; None if anything has changed."""
        try:
            kept = json.loads(self.file.read_bytes())
            if SEAL not in kept:
                return None
            kept = unsealed(kept, where=self.file)
            if kept["inputs"] != self.inputs:
                return None
            for name, before in kept["outputs"].items():
                if look(Path(self.workdir, name), but=_VOLATILE) != before:
                    return None
            found = self._moved(kept)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, UserError):
            return None
        if found is not None:
            print("finished before; no file of it has changed", file=sys.stderr)
        return found

    def keep(self, answer: dict[str, Any]) -> None:
        """Keeps the answer, if what it came from did not change on the way."""
        try:
            record = {
                "answer": json.dumps(answer),  # in its own order
                "workdir": self.workdir,
                "absolute": os.path.abspath(self.workdir),
                "inputs": self.inputs,
                "outputs": {
                    name: look(Path(self.workdir, name), but=_VOLATILE)
                    for name in sorted(self._written(answer))
                },
            }
            remove_partial(self.file.parent)  # left by killed processes
            write_sealed_json(self.file, record)
        except (OSError, ValueError, TypeError):
            return  # such as a workdir that is read-only: the next call takes longer

    def _written(self, answer: dict[str, Any]) -> Iterator[str]:
        """Run folders, by their names in the workdir, and other paths in an answer."""
        root = os.path.abspath(self.workdir)
        for text in _texts(answer):
            if os.sep not in text or "\n" in text or not os.path.exists(text):
                continue
            inside = os.path.relpath(text, root).split(os.sep)
            yield os.path.abspath(text) if inside[0] in ("..", ".") else inside[0]

    def _moved(self, kept: dict[str, Any]) -> dict[str, Any] | None:
        """The answer with paths in the workdir as it is named now."""
        answer, before, now = json.loads(kept["answer"]), kept["workdir"], self.workdir
        if before == now:
            return answer
        if before == os.curdir:
            return None  # names in it say nothing of the folder

        def moved(text: str) -> str:
            if not text.startswith(before + os.sep):
                return text
            return str(Path(now, text.removeprefix(before + os.sep)))

        found = _mapped(answer, moved)
        same = kept["absolute"] == os.path.abspath(now)
        left = any(kept["absolute"] + os.sep in text for text in _texts(found))
        return found if same or not left else None


def of(args: argparse.Namespace) -> Finished | None:
    """Where the answer of this command line is kept; None if it is not to be."""
    options = {
        name: value for name, value in vars(args).items() if name not in _UNIMPORTANT
    }
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
    key = digest_of({"options": _mapped(options, inside), "data": places})
    try:
        inputs = _inputs(args, data)
    except (OSError, ValueError):
        return None
    return Finished(Path(workdir, FOLDER, f"{key[:24]}.json"), workdir, inputs)


def _inputs(args: argparse.Namespace, data: list[Path]) -> dict[str, Any]:
    """What decides on the answer beside the command line: files and installation."""
    code = Path(kerasdistill.__file__).parents[1]
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    keras_file = Path(home, "keras.json")
    inputs: dict[str, Any] = {
        "version": kerasdistill.__version__,
        "code": [
            look(code / name, but=("__pycache__",))
            for name in ("kerasdistill", "pipelines", "tuners")
        ],
        "environment": {k: v for k, v in environment().items() if k != "command"},
        "more_packages": [metadata.version(n) for n in ("scikit-learn", "pillow")],
        "machine": [machine.has_gpu(), machine.has_bfloat16()],
        "variables": [os.environ.get(name) for name in _VARIABLES],
        "keras": keras_file.read_text() if keras_file.exists() else None,
        "data": [look(path) for path in data],
    }
    for name in sorted(vars(args).keys() - set(_NO_INPUTS)):
        texts = _texts(getattr(args, name))
        paths = [Path(t) for t in texts if name in _READ or os.path.exists(t)]
        beside = [path.with_name(each) for path in paths for each in _BESIDE]
        looks = [look(path, but=_VOLATILE) for path in paths]
        inputs[name] = looks + [look(p) if p.exists() else None for p in beside]
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


def _texts(value: Any) -> list[str]:
    """All texts among nested values."""
    found: list[str] = []
    _mapped(value, found.append)
    return found


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """Nested values with all texts changed."""
    if isinstance(value, dict):
        return {name: _mapped(each, change) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
