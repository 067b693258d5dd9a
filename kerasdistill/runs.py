"""A run is a folder: the same request finds it again, and so resumes."""

import fcntl
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from kerasdistill.errors import BusyError, StaleArtifactError, UserError
from kerasdistill.files import (
    digest_of,
    remove_partial,
    unsealed,
    write_json_atomic,
    write_sealed_json,
)

_PACKAGES = ("tensorflow", "keras", "numpy", "apache-beam", "tensorflow-datasets")
_DIFFERENCES = 3  # fields that a refusal names
# Paths among the results that lie in the run's folder.
_INSIDE = (
    *("model", "saved_model", "results"),
    *("best_recipe", "trials_table", "picture"),
)


class RunDirectory:
    """One execution of one request, held by one process at a time.

    Use as a context manager. The folder's name is the verb and the digest of the
    request, so repeating a command continues it; `results.json` is written last and
    makes the run finished.
    """

    def __init__(self, path: Path, request: dict[str, Any]):
        self.path = path
        self.request = request
        self._lock = None

    @classmethod
    def open(cls, workdir: str | Path, verb: str, request: dict[str, Any]) -> Self:
        """The run of `request` under `workdir`, created on first use."""
        digest = digest_of({"verb": verb, **request})
        return cls(Path(workdir) / f"{verb}-{digest[:12]}", request)

    def __enter__(self) -> Self:
        if "://" in str(self.path) or ":/" in str(self.path):
            raise UserError(
                f"run directory {self.path} is no local path; give a local --workdir"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "a")
        except OSError as error:
            raise UserError(
                f"run directory {self.path} cannot be written ({error.strerror}); "
                "choose another --workdir"
            ) from error
        try:
            # The kernel drops the lock with its process, so none is ever stale.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BusyError(
                f"run directory {self.path} is in use by another process; wait for "
                "it to end or choose another --workdir"
            ) from None
        try:
            # A run in this one, a search's trial, is its own holder's to clean.
            inner = (lock.parent for lock in self.path.glob("*/**/lock"))
            remove_partial(self.path, but_in=inner)
            self._describe()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.close()

    def _describe(self) -> None:
        recipe = self.path / "recipe.json"
        if not recipe.exists():
            write_sealed_json(recipe, self.request)
        elif (before := read_json(recipe)) != json.loads(json.dumps(self.request)):
            raise StaleArtifactError(
                f"{recipe} describes another request ({_difference(before, self)}); "
                f"remove {self.path} or choose another folder"
            )
        write_json_atomic(self.path / "environment.json", environment())

    def results(self) -> dict[str, Any] | None:
        """What a finished run found, None while it is not finished."""
        path = self.path / "results.json"
        if not path.exists():
            return None
        found = read_json(path)
        # The workdir may have moved, or be named from another directory now.
        here = {
            key: str(self.path / Path(found[key]).name)
            for key in _INSIDE
            if key in found
        }
        return {**found, **here}

    def finish(self, results: dict[str, Any]) -> dict[str, Any]:
        """Publishes the results; the run is finished from then on.

        Raises:
            StaleArtifactError: the folder was removed, or replaced by another's.
        """
        lock = self.path / "lock"
        if not lock.exists() or not os.path.samestat(
            lock.stat(), os.fstat(self._lock.fileno())
        ):
            raise StaleArtifactError(
                f"run directory {self.path} was removed or replaced while this run was "
                "at work in it; run the same command again"
            )
        write_sealed_json(self.path / "results.json", results)
        return self.results()


def _difference(before: Any, run: RunDirectory) -> str:
    """The first fields that differ, such as "dataset.name is 'digits', not 'x'"."""
    was, now = leaves(before), leaves(json.loads(json.dumps(run.request)))
    told = []
    for name in dict.fromkeys([*now, *was]):
        if was.get(name) != now.get(name):
            told.append(f"{name} is {was.get(name)!r}, not {now.get(name)!r}")
    more = f" and {len(told) - _DIFFERENCES} more" if told[_DIFFERENCES:] else ""
    return "; ".join(told[:_DIFFERENCES]) + more


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Nested JSON values as one dictionary: {"dataset.name": "cifar10", ...}."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    parts = [leaves(item, f"{name}.{key}".strip(".")) for key, item in value.items()]
    return {key: leaf for part in parts for key, leaf in part.items()}


def read_json(path: str | Path) -> Any:
    """Reads a JSON file, without its checksum where it has one.

    Raises:
        StaleArtifactError: it is damaged, or its checksum does not fit.
        UserError: it is not there.
    """
    try:
        return unsealed(json.loads(Path(path).read_bytes()), where=path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); pass the path of a JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StaleArtifactError(
            f"{path} is damaged ({error}); remove it and run again"
        ) from error


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever compares figures later."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
