"""The runs under a workdir: what each is, and whether somebody is at work."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kerasdistill import boards
from kerasdistill.errors import BusyError, UserError
from kerasdistill.files import lock
from kerasdistill.reading_files import open_file
from kerasdistill.recipes.describing import describe_json
from kerasdistill.reports import names
from kerasdistill.reports.tables import finite, percent, table
from kerasdistill.runs import LOCK, read_json

RESULTS = "results.json"


def runs(workdir: str | Path) -> list[dict[str, Any]]:
    """Every run under `workdir`, by name; a run inside another is the other's.

    Returns:
        For each "name" (its path below the workdir), "readable_name", "path", "kind",
        "state" (finished, unfinished or held), "what" for people, "accuracy" and
        "perplexity" on test, "members" (names, of an ensemble or a chain of
        generations), "bytes" and "age_seconds" since it last changed. A damaged file
        leaves fields None.

    Raises:
        UserError: there is no such workdir.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"{workdir} is no folder; give the `workdir` of runs")
    paths = _paths(workdir)
    boards_of: dict[Path, list[Path]] = {}
    for place in {path.parent for path in paths}:
        boards_of |= boards.of_runs(place)
    described = [_described(path, workdir) for path in paths]
    shown = [boards_of.get(path) for path in paths]
    words = [
        board[0].name if board else run["readable_name"]
        for board, run in zip(shown, described, strict=True)
    ]
    called = names.distinct(words, fixed=list(map(bool, shown)))
    for run, name in zip(described, called, strict=True):
        run["readable_name"] = name
    by_folder = {run["path"].rpartition("/")[2]: run for run in described}
    for run in described:
        members = (by_folder.get(name) for name in run["members"])
        known = zip(run["members"], members, strict=True)
        run["members"] = [own["readable_name"] if own else name for name, own in known]
    return described


def _paths(workdir: Path) -> list[Path]:
    paths = []
    for place, folders, files in os.walk(workdir):  # links are not followed
        folders.sort()
        if LOCK in files:
            paths.append(Path(place))
            folders.clear()
    return paths


def _described(path: Path, workdir: Path) -> dict[str, Any]:
    results, request = read(path / RESULTS), read(path / "recipe.json")
    state = "finished" if (path / RESULTS).exists() else "unfinished"
    size, changed = folder_size(path)
    kind = results.get("kind") or path.name.rpartition("-")[0] or path.name
    return {
        "name": str(path.relative_to(workdir)),
        "readable_name": names.readable(kind, {**request, **results}),
        "path": str(path),
        "kind": kind,
        "state": "held" if _is_held(path) else state,
        "what": _what({**request, **results}),
        "accuracy": finite(results.get("test_accuracy")),
        "perplexity": finite(results.get("test_perplexity")),
        "members": _members(results),
        "bytes": size,
        "age_seconds": max(0.0, time.time() - changed),
    }


def _members(results: dict[str, Any]) -> list[str]:
    """The folders of the models that an ensemble, or a chain, is made of."""
    models = results.get("members") if "averaging" in results else None
    models = models or [row.get("model") for row in results.get("generations") or ()]
    paths = [Path(each) for each in models if isinstance(each, str)]
    return [path.parent.name or path.name for path in paths]


def read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def folder_size(path: Path) -> tuple[int, float]:
    """Bytes of all files, and when the newest was written."""
    total, newest = 0, path.stat().st_mtime
    for place, _, files in os.walk(path):
        for file in files:
            try:
                status = os.lstat(os.path.join(place, file))
            except FileNotFoundError:  # at work
                continue
            total += status.st_size
            newest = max(newest, status.st_mtime)
    return total, newest


def _what(run: dict[str, Any]) -> str:
    """Such as "cifar10, 65-65-65, 1,000,376 parameters, 10 epochs"."""
    dataset = run.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    names = (name, run.get("arch") or describe_json(run.get("recipe")))
    counts = {key: run.get(key) for key in ("num_params", "epochs", "trials", "views")}
    units = {"num_params": "parameters"}
    return ", ".join(
        [each for each in names if isinstance(each, str)]
        + [
            f"{count:,} {units.get(key, key)}"
            for key, count in counts.items()
            if isinstance(count, int)
        ]
    )


def _is_held(path: Path) -> bool:
    try:
        with holding(path):
            return False
    except BusyError:
        return True
    except OSError:  # another user's: nobody here can tell
        return False


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Keeps every process out of a run and of those in it, a search's trials;
    BusyError if one is in."""
    with ExitStack() as stack:
        for place in sorted(path.rglob(LOCK)):
            # Others' files that are read-only can be locked all the same.
            file = stack.enter_context(open_file(place, "digest"))
            try:
                lock(file.fileno(), place)
            except BlockingIOError:
                raise busy(path) from None
        yield


def busy(run: str | Path) -> BusyError:
    return BusyError(f"{run} is in use by another process; end it first")


def listed(described: Sequence[dict[str, Any]]) -> str:
    """`runs` for people."""
    if not described:
        return "no runs"
    rows = [
        [run["readable_name"], run["state"], _score(run), size(run["bytes"])]
        + [age(run["age_seconds"]), run["name"]]
        for run in described
    ]
    what = ["what", *map(_in_words, described)]
    heads = ["run", "state", "test", "size", "age", "folder"]
    lines = zip(table(heads, rows), what, strict=True)
    return "\n".join(f"{line}  {text}".rstrip() for line, text in lines)


def _score(run: dict[str, Any]) -> str:
    if run["perplexity"] is not None:
        return f"perplexity {run['perplexity']:.2f}"
    return percent(run["accuracy"])


def _in_words(run: dict[str, Any]) -> str:
    of = f"of {', '.join(run['members'])}" if run["members"] else ""
    return ", ".join(filter(None, (run["what"], of)))


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def age(seconds: float) -> str:
    """Seconds for people, in one unit."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
