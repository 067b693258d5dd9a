"""The runs under a workdir: what each is, whether somebody is at work, and removal."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kerasdistill.errors import BusyError, UserError
from kerasdistill.recipes.describing import describe_json
from kerasdistill.reports.tables import percent, table
from kerasdistill.runs import read_json

_LOCK = "lock"  # `RunDirectory` holds it while a process is at work
_RESULTS = "results.json"


def runs(workdir: str | Path) -> list[dict[str, Any]]:
    """Every run under `workdir`, by name; a run inside another is the other's.

    Returns:
        For each "name" (its path below the workdir), "path", "kind", "state"
        (finished, unfinished or held), "what" for people, "accuracy" on test, "bytes"
        and "age_seconds" since it last changed. A damaged file leaves fields None.

    Raises:
        UserError: there is no such workdir.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"{workdir} is no folder; give the --workdir of runs")
    return [_described(path, workdir) for path in _paths(workdir)]


def _paths(workdir: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(workdir):  # links are not followed
        folders.sort()
        if _LOCK in files:
            found.append(Path(place))
            folders.clear()
    return found


def _described(path: Path, workdir: Path) -> dict[str, Any]:
    results, request = _read(path / _RESULTS), _read(path / "recipe.json")
    state = "finished" if (path / _RESULTS).exists() else "unfinished"
    name = str(path.relative_to(workdir))
    size, changed = _size(path)
    accuracy = results.get("test_accuracy")
    return {
        "name": name,
        "path": str(path),
        "kind": results.get("kind") or path.name.rpartition("-")[0] or path.name,
        "state": "held" if _is_held(path) else state,
        "what": _what(results, request),
        "accuracy": accuracy if isinstance(accuracy, float) else None,
        "bytes": size,
        "age_seconds": max(0.0, time.time() - changed),
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        found = read_json(file)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _size(path: Path) -> tuple[int, float]:
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


def _what(results: dict[str, Any], request: dict[str, Any]) -> str:
    """Such as "cifar10, 65-65-65, 1,000,376 parameters, 10 epochs"."""
    both = {**request, **results}
    parts = []
    dataset = both.get("dataset")
    name = dataset.get("name") if isinstance(dataset, dict) else dataset
    for value in (name, both.get("arch") or describe_json(both.get("recipe"))):
        if isinstance(value, str):
            parts.append(value)
    for key, unit in (
        ("num_params", "parameters"),
        ("epochs", "epochs"),
        ("trials", "trials"),
        ("views", "views"),
    ):
        if isinstance(both.get(key), int):
            parts.append(f"{both[key]:,} {unit}")
    return ", ".join(parts)


def _locks(path: Path) -> list[Path]:
    """The run's own, and those of runs in it, a search's trials."""
    return sorted(path.rglob(_LOCK))


def _is_held(path: Path) -> bool:
    try:
        with _holding(path):
            return False
    except BusyError:
        return True


@contextmanager
def _holding(path: Path) -> Iterator[None]:
    """Keeps every process out; BusyError if one is in."""
    taken = []
    try:
        for lock in _locks(path):
            # Read-only files of others can be asked for their lock all the same.
            taken.append(open(lock, "rb"))
            try:
                fcntl.flock(taken[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"{path} is in use by another process; end it first"
                ) from None
        yield
    finally:
        for file in taken:
            file.close()


def clean(
    workdir: str | Path,
    *,
    names: Sequence[str] = (),
    unfinished: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Removes the named runs, or all unfinished ones; never one that is held.

    Args:
        workdir: where they are.
        names: as `runs` tells them; checked before anything is removed.
        unfinished: remove every run without results.
        dry_run: only say what would be removed.

    Returns:
        "removed" and "kept" (unfinished but held), each a list of what `runs` tells,
        "bytes" of those removed, and "dry_run".

    Raises:
        UserError: nothing was asked for, or a name is no run's.
        BusyError: a named run is held.
    """
    if bool(names) == unfinished:
        raise UserError(
            "runs clean needs --unfinished, or --run NAME for each run to remove"
        )
    found = {each["name"]: each for each in runs(workdir)}
    if strangers := [name for name in names if name not in found]:
        raise UserError(
            f"{strangers[0]!r} is no run in {workdir}; see them with: runs list"
        )
    if held := [name for name in names if found[name]["state"] == "held"]:
        raise BusyError(f"run {held[0]} is in use by another process; end it first")
    chosen = [found[name] for name in dict.fromkeys(names)]
    kept = []
    if unfinished:
        open_ones = [
            each for each in found.values() if not Path(each["path"], _RESULTS).exists()
        ]
        chosen = [each for each in open_ones if each["state"] != "held"]
        kept = [each for each in open_ones if each["state"] == "held"]
    if not dry_run:
        for each in chosen:
            _remove(Path(each["path"]))
    return {
        "removed": chosen,
        "kept": kept,
        "bytes": sum(each["bytes"] for each in chosen),
        "dry_run": dry_run,
    }


def _remove(path: Path) -> None:
    with _holding(path):
        # Should this be interrupted, what is left is no finished run.
        (path / _RESULTS).unlink(missing_ok=True)
        shutil.rmtree(path)


def listed(found: Sequence[dict[str, Any]]) -> str:
    """`runs` for people."""
    if not found:
        return "no runs"
    heads = ["run", "kind", "state", "test", "size", "age"]
    rows = [
        [
            each["name"],
            each["kind"],
            each["state"],
            percent(each["accuracy"]),
            size(each["bytes"]),
            age(each["age_seconds"]),
        ]
        for each in found
    ]
    what = ["what", *(each["what"] for each in found)]
    lines = zip(table(heads, rows), what, strict=True)
    return "\n".join(f"{line}  {text}".rstrip() for line, text in lines)


def cleaned(done: dict[str, Any]) -> str:
    """`clean` for people."""
    verb = "would remove" if done["dry_run"] else "removed"
    lines = [
        f"{verb} {each['name']} ({size(each['bytes'])})" for each in done["removed"]
    ]
    lines += [f"kept {each['name']}: a process is at work" for each in done["kept"]]
    lines.append(f"{verb} {len(done['removed'])} runs, {size(done['bytes'])}")
    return "\n".join(lines)


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
