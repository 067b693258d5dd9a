"""The runs under a workdir: what each is, whether somebody is at work, and removal."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kerasdistill.errors import BusyError, UserError
from kerasdistill.files import lock
from kerasdistill.reading_files import open_file
from kerasdistill.recipes.describing import describe_json
from kerasdistill.reports.tables import percent, table
from kerasdistill.runs import LOCK, read_json

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
    paths = []
    for place, folders, files in os.walk(workdir):  # links are not followed
        folders.sort()
        if LOCK in files:
            paths.append(Path(place))
            folders.clear()
    return paths


def _described(path: Path, workdir: Path) -> dict[str, Any]:
    results, request = _read(path / _RESULTS), _read(path / "recipe.json")
    state = "finished" if (path / _RESULTS).exists() else "unfinished"
    size, changed = _size(path)
    accuracy = results.get("test_accuracy")
    return {
        "name": str(path.relative_to(workdir)),
        "path": str(path),
        "kind": results.get("kind") or path.name.rpartition("-")[0] or path.name,
        "state": "held" if _is_held(path) else state,
        "what": _what({**request, **results}),
        "accuracy": accuracy if isinstance(accuracy, float) else None,
        "bytes": size,
        "age_seconds": max(0.0, time.time() - changed),
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


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
        with _holding(path):
            return False
    except BusyError:
        return True


@contextmanager
def _holding(path: Path) -> Iterator[None]:
    """Keeps every process out of a run and of those in it, a search's trials;
    BusyError if one is in."""
    with ExitStack() as stack:
        for place in sorted(path.rglob(LOCK)):
            # Others' files that are read-only can be locked all the same.
            file = stack.enter_context(open_file(place, "digest"))
            try:
                lock(file.fileno(), place)
            except BlockingIOError:
                raise _busy(path) from None
        yield


def _busy(run: str | Path) -> BusyError:
    return BusyError(f"{run} is in use by another process; end it first")


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
        names: of runs, as `runs` has them; checked before anything is removed.
        unfinished: remove every run without results.
        dry_run: only say what would be removed.

    Returns:
        "removed" and "kept" (unfinished but held), each a list of runs as from `runs`,
        "bytes" of those removed, and "dry_run".

    Raises:
        UserError: neither names nor `unfinished`, or both, or a name is no run's.
        BusyError: a named run is held.
    """
    if bool(names) == unfinished:
        raise UserError(
            "runs clean needs --unfinished, or --run NAME for each run to remove"
        )
    present = {each["name"]: each for each in runs(workdir)}
    if strangers := [name for name in names if name not in present]:
        raise UserError(
            f"{strangers[0]!r} is no run in {workdir}; see them with: runs list"
        )
    if held := [name for name in names if present[name]["state"] == "held"]:
        raise _busy(f"run {held[0]}")
    chosen, kept = [present[name] for name in dict.fromkeys(names)], []
    if unfinished:
        for run in present.values():
            if not Path(run["path"], _RESULTS).exists():
                (kept if run["state"] == "held" else chosen).append(run)
    if not dry_run:
        for run in chosen:
            _remove(Path(run["path"]))
    count = sum(run["bytes"] for run in chosen)
    return {"removed": chosen, "kept": kept, "bytes": count, "dry_run": dry_run}


def _remove(path: Path) -> None:
    with _holding(path):
        # Should this be interrupted, what is left is no finished run.
        (path / _RESULTS).unlink(missing_ok=True)
        shutil.rmtree(path)


def listed(described: Sequence[dict[str, Any]]) -> str:
    """`runs` for people."""
    if not described:
        return "no runs"
    rows = [
        [run["name"], run["kind"], run["state"], percent(run["accuracy"])]
        + [size(run["bytes"]), age(run["age_seconds"])]
        for run in described
    ]
    what = ["what", *(run["what"] for run in described)]
    lines = zip(
        table(["run", "kind", "state", "test", "size", "age"], rows), what, strict=True
    )
    return "\n".join(f"{line}  {text}".rstrip() for line, text in lines)


def cleaned(done: dict[str, Any]) -> str:
    """`clean` for people."""
    verb = "would remove" if done["dry_run"] else "removed"
    lines = [f"{verb} {run['name']} ({size(run['bytes'])})" for run in done["removed"]]
    lines += [f"kept {run['name']}: a process is at work" for run in done["kept"]]
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
