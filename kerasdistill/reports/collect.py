"""Finds the results of finished runs; what is damaged is named and left out."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdistill.errors import UserError
from kerasdistill.runs import read_json

FILE = "results.json"


@dataclass(frozen=True)
class Found:
    """What one `results.json` says; `path` is the file."""

    path: str
    results: dict[str, Any]


@dataclass(frozen=True)
class Collected:
    """All that was found, sorted by path, a line for each file left out, and the
    folders that hold neither."""

    runs: tuple[Found, ...]
    problems: tuple[str, ...]
    empty: tuple[str, ...] = ()


def collect(paths: Sequence[str | Path]) -> Collected:
    """Reads every `results.json` in the folders, at any depth, and the files given.

    A search's trials and other results without a "kind" are no runs of their own and
    are passed over, but named as problems where such a file was given by name.

    Raises:
        UserError: a path does not exist.
    """
    runs: dict[Path, Found] = {}
    problems, empty = [], []
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(
                f"{path} does not exist; give folders of runs or results.json files"
            )
        before = len(problems)
        here: dict[Path, Found] = {}
        for file in [path] if path.is_file() else _inside(path):
            try:
                results = read_json(file)
            except UserError as error:
                problems.append(str(error))
                continue
            if isinstance(results, dict) and isinstance(results.get("kind"), str):
                here[file.resolve()] = Found(str(file), results)
            elif path.is_file() or not isinstance(results, dict):
                problems.append(f"{file} holds no results of a run; left out")
        if not here and len(problems) == before:
            empty.append(str(path))
        runs |= here
    ordered = sorted(runs.values(), key=lambda each: each.path)
    return Collected(tuple(ordered), tuple(problems), tuple(empty))


def _inside(folder: Path) -> list[Path]:
    walk = os.walk(folder)  # links are not followed: no circles
    return sorted(Path(place, FILE) for place, _, files in walk if FILE in files)
