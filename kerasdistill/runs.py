"""A run is a folder: the same request finds it again, and so resumes."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Self

from kerasdistill import __version__, boards, machine, packages, requests
from kerasdistill.errors import BusyError, StaleArtifactError, UserError
from kerasdistill.files import (
    digest_of,
    holds,
    lock,
    remove_partial,
    unsealed,
    write_json_atomic,
    write_sealed_json,
)
from kerasdistill.reading_files import read_bytes
from kerasdistill.terminal import say

LOCK = "lock"  # the file in a run's folder
_PACKAGES = ("tensorflow", "keras", "numpy", "apache-beam", "tensorflow-datasets")
_COMPUTING = ("tensorflow", "keras", "numpy")
_DIFFERENCES = 3  # fields that a refusal names
# Paths among the results that lie in the run's folder.
_INSIDE = "model saved_model results best_recipe trials_table picture".split()


class RunDirectory:
    """One execution of one request, held by one process at a time.

    Use as a context manager. The folder's name is the verb and the digest of the
    request's canonical JSON (`requests.canonical`), so repeating a command continues
    it; `results.json` is written last and makes the run finished. `given` is the
    request itself, `request` its JSON in full, as `recipe.json` keeps it.
    """

    def __init__(self, path: Path, request: Any, *, named: bool = False):
        self.path = path
        self.request = requests.plain(request)
        self.given = request
        self._named = named  # the folder's name is the canonical digest
        self._lock = None

    @classmethod
    def open(cls, workdir: str | Path, verb: str, request: Any) -> Self:
        """The run of `request` under `workdir`, created on first use.

        One that an older version began, under the digest of the whole JSON, goes on
        in its folder.
        """
        fields = requests.canonical(request) | _backend()
        path = Path(workdir) / _name(verb, fields)
        if not path.exists() and not _backend():
            before = Path(workdir) / _name(verb, requests.older(request))
            if before.exists():
                return cls(before, request)
        return cls(path, request, named=True)

    def __enter__(self) -> Self:
        if "://" in str(self.path) or ":/" in str(self.path):
            raise UserError(
                f"run directory {self.path} is no local path; give a local `workdir`"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / LOCK, "a")
        except OSError as error:
            raise UserError(
                f"run directory {self.path} cannot be written ({error.strerror}); "
                "choose another `workdir`"
            ) from error
        try:
            lock(self._lock.fileno(), self.path / LOCK)
        except BlockingIOError:
            self._lock.close()
            raise BusyError(
                f"run directory {self.path} is in use by another process; wait for "
                "it to end or choose another `workdir`"
            ) from None
        try:
            # A run in this one, a search's trial, is its own holder's to clean.
            inner = (file.parent for file in self.path.glob(f"*/**/{LOCK}"))
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
            write_sealed_json(
                recipe, self.request | (_backend() if self._named else {})
            )
        self.check()
        self._tell_other_code()
        write_json_atomic(self.path / "environment.json", environment())

    @property
    def begun(self) -> bool:
        """Whether its folder is there and was made for this request."""
        recipe = self.path / "recipe.json"
        return recipe.exists() and requests.same(
            read_json(recipe), self.given, newer=self._named
        )

    def check(self) -> None:
        """StaleArtifactError if the folder was made for another request."""
        recipe = self.path / "recipe.json"
        if not recipe.exists():
            return
        before = read_json(recipe)
        if not requests.same(before, self.given, newer=self._named):
            differ = requests.differences(before, self.given)
            fields = [f"{n} is {was!r}, not {now!r}" for n, was, now in differ]
            if more := fields[_DIFFERENCES:]:
                fields[_DIFFERENCES:] = [f"and {len(more)} more"]
            raise StaleArtifactError(
                f"{recipe} describes another request ({'; '.join(fields)}); "
                f"remove {self.path} or choose another folder"
            )

    def _tell_other_code(self) -> None:
        """Says in a line that an unfinished run was begun with other versions."""
        file = self.path / "environment.json"
        if not file.exists() or (self.path / "results.json").exists():
            return
        try:
            before, now = _versions(json.loads(read_bytes(file, "json"))), _versions()
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing depends on it
        other = [name for name in now if before.get(name, now[name]) != now[name]]
        was, here = (
            ", ".join(f"{name} {each[name]}" for name in other)
            for each in (before, now)
        )
        if other:
            say(
                f"{self.path} was begun with {was} and goes on with {here}: the result "
                "may differ from that of either alone"
            )

    def results(self) -> dict[str, Any] | None:
        """A finished run's results, None while it is not finished."""
        path = self.path / "results.json"
        if not path.exists():
            return None
        results = read_json(path)
        # The workdir may have moved, or be named from another directory now.
        for key in results.keys() & set(_INSIDE):
            results[key] = str(self.path / Path(results[key]).name)
        return results

    def finish(self, results: dict[str, Any]) -> dict[str, Any]:
        """Publishes the results; the run is finished from then on.

        They also have its `readable_name`, if TensorBoard shows it by one.

        Raises:
            StaleArtifactError: the folder was removed, or replaced by another's.
        """
        if not holds(self._lock.fileno(), self.path / LOCK):
            raise StaleArtifactError(
                f"run directory {self.path} was removed or replaced while this run was "
                "at work in it; run the same command again"
            )
        if (board := boards.of_run(self.path)) is not None:
            results = {**results, "readable_name": board.name}
        write_sealed_json(self.path / "results.json", results)
        return self.results()


def _name(verb: str, request: dict[str, Any]) -> str:
    return f"{verb}-{digest_of({'verb': verb, **request})[:12]}"


def read_json(path: str | Path) -> Any:
    """Reads a JSON file, without its checksum where it has one.

    Raises:
        StaleArtifactError: it is damaged, or its checksum does not fit.
        UserError: it is not there, no ordinary file, or too large.
    """
    try:
        return unsealed(json.loads(read_bytes(path, "json")), where=path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); pass the path of a JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise StaleArtifactError(
            f"{path} is damaged ({error}); remove it and run again"
        ) from error


def _backend() -> dict[str, str]:
    """Keras' backend as a part of requests, which leave the default out."""
    name = machine.keras_backend()
    return {} if name == machine.DEFAULT_BACKEND else {"backend": name}


def _versions(of: dict[str, Any] | None = None) -> dict[str, str]:
    """What of an environment, by default this one, the bits of a result depend on."""
    of = environment() if of is None else of
    computing = {name: of["packages"][name] for name in _COMPUTING}
    ours = ("kerasdistill", "backend")  # which older versions did not note
    return {name: of[name] for name in ours if name in of} | computing


def environment() -> dict[str, Any]:
    """Versions and machine, for whoever compares figures later.

    The version of a package that is not installed is None.
    """
    return {
        "kerasdistill": __version__,
        "backend": machine.keras_backend(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "packages": {
            name: packages.version(packages.module_of(name)) for name in _PACKAGES
        },
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }
