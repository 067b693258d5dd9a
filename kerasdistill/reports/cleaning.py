"""Removes runs, and what no run needs any more; what it removes, it names first.

Finished models are what somebody wanted, whether another run refers to them or not:
they go only by name.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kerasdistill import boards
from kerasdistill.errors import UserError
from kerasdistill.files import digest_of
from kerasdistill.reports.listing import (
    RESULTS,
    busy,
    folder_size,
    holding,
    read,
    runs,
    size,
)

_SETS = ("precompute", "text-signal")
# Of runs that learn from no set, whether they are finished or not.
_WITHOUT_SET = (*_SETS, "teacher", "baseline", "ensemble", "adapted-teacher")
_NEEDED = "unfinished runs, or results that do not name their set, may need it"
_FOREIGN = "it belongs to somebody else (permission denied)"

Run = dict[str, Any]


def clean(
    workdir: str | Path,
    *,
    names: Sequence[str] = (),
    unfinished: bool = False,
    unreferenced: bool = False,
    dry_run: bool = False,
    removable: Callable[[Path], bool] | None = None,
    remove: Callable[[Path], None] = shutil.rmtree,
) -> dict[str, Any]:
    """Removes the named runs, or all unfinished ones, or what no run refers to; never
    a run that is held.

    Args:
        workdir: where they are.
        names: of runs, as `runs` has them; checked before anything is removed.
        unfinished: remove every run without results.
        unreferenced: remove distillation sets and signals that no run here was trained
            on, checkpoints of finished runs, copies of sets at URLs that no run here
            names, and TensorBoard's files of runs that are gone. No set is removed
            while an unfinished run may still need it.
        dry_run: only say what would be removed.
        removable: whether the process may remove a run's folder (None: looks).
        remove: what removes a folder.

    Returns:
        "removed" and "kept", each a list of runs as from `runs`, those kept with
        "why"; "files", a list of what else is removed, with "path", "bytes" and "why";
        "bytes" of all that is removed, and "dry_run".

    Raises:
        UserError: neither names nor another choice, or both, or a name is no run's,
            or a named run cannot be removed.
        BusyError: a named run is held.
    """
    if bool(names) == (unfinished or unreferenced):
        raise UserError(
            "runs clean needs `unfinished=True`, `unreferenced=True` or both, or "
            "`names=NAME` for each run to remove"
        )
    present, removable = runs(workdir), removable or _removable
    chosen, kept = _named(present, names, workdir), []
    files: list[Run] = []
    if unfinished:
        chosen += [r for r in present if not Path(r["path"], RESULTS).exists()]
    if unreferenced:
        sets, kept = _sets(present)
        chosen += sets
        files = list(_leftovers(Path(workdir), present, {r["name"] for r in chosen}))
    removed = []
    for run in chosen:
        if _is_held(run):
            kept.append({**run, "why": "a process is at work"})
        elif removable(Path(run["path"])):
            removed.append(run)
        elif names:
            raise _not_ours(run["path"])
        else:
            kept.append({**run, "why": _FOREIGN})
    if not dry_run:
        _remove_all(removed, files, remove)
    count = sum(each["bytes"] for each in (*removed, *files))
    made = {"removed": removed, "kept": kept, "files": files, "bytes": count}
    return {**made, "dry_run": dry_run}


def _named(present: list[Run], names: Sequence[str], workdir: str | Path) -> list[Run]:
    """The runs of these names, each once."""
    by_name = {run["readable_name"]: run for run in present}
    by_name |= {run["name"]: run for run in present}
    if strangers := [name for name in names if name not in by_name]:
        raise UserError(
            f"{strangers[0]!r} is no run in {workdir}; see them with: runs list"
        )
    chosen = {by_name[name]["name"]: by_name[name] for name in names}
    if held := [name for name, run in chosen.items() if _is_held(run)]:
        raise busy(f"run {held[0]}")
    return list(chosen.values())


def _is_held(run: Run) -> bool:
    return run["state"] == "held"


def _sets(present: list[Run]) -> tuple[list[Run], list[Run]]:
    """The finished sets that nothing refers to, and those that something may need."""
    texts = {run["name"]: _text(run) for run in present}
    doubt = any(map(_may_need_a_set, present))
    free, kept = [], []
    for run in present:
        if run["kind"] not in _SETS or run["state"] != "finished":
            continue
        own = read(Path(run["path"], RESULTS)).get("content_digest")
        marks = {Path(run["path"]).name, own} - {None}
        others = (text for name, text in texts.items() if name != run["name"])
        if any(mark in text for text in others for mark in marks):
            continue
        if doubt:
            kept.append({**run, "why": _NEEDED})
        else:
            free.append({**run, "why": "no run here was trained on it"})
    return free, kept


def _text(run: Run) -> str:
    files = (Path(run["path"], name) for name in (RESULTS, "recipe.json"))
    return json.dumps(list(map(read, files)))


def _may_need_a_set(run: Run) -> bool:
    """Whether it may go on from a set, or was trained on one that it does not name."""
    if run["kind"] in _WITHOUT_SET:
        return False
    if run["state"] != "finished":
        return True
    request = read(Path(run["path"], "recipe.json"))
    learned = "distillation_set" in request or request.get("signal", "live") != "live"
    stored = read(Path(run["path"], RESULTS)).get("distillation_set")
    return learned and not (isinstance(stored, dict) and "path" in stored)


def _leftovers(workdir: Path, present: list[Run], gone: set[str]) -> Iterator[Run]:
    """What lies in `workdir` beside its runs and serves none; nothing of those that
    are `gone` anyway."""
    for run in present:
        place = Path(run["path"], "checkpoints")
        if run["state"] == "finished" and run["name"] not in gone and place.is_dir():
            yield _leftover(place, "the run is finished")
    known = {Path(run["path"]) for run in present}
    for run, places in boards.of_runs(workdir).items():
        if run not in known:
            for place in places:
                yield _leftover(place, "its run is gone")
    named, doubt = "".join(map(_text, present)), any(map(_may_need_a_set, present))
    for place in sorted(workdir.glob("fetched-*")):
        urls = (part for part in named.split('"') if "://" in part)
        copies = {f"fetched-{digest_of(url)[:12]}" for url in urls}
        if place.is_dir() and place.name not in copies and not doubt:
            yield _leftover(place, "no run here names its URL")


def _leftover(place: Path, why: str) -> Run:
    return {"path": str(place), "bytes": folder_size(place)[0], "why": why}


def _remove_all(
    chosen: Sequence[Run], files: Sequence[Run], remove: Callable[[Path], None]
) -> None:
    for each in (*files, *chosen):
        path = Path(each["path"])
        try:
            if "name" in each:
                _remove(path, remove)
            else:
                remove(path)
        except OSError as error:
            raise _not_ours(path, error.strerror) from error


def _remove(path: Path, remove: Callable[[Path], None]) -> None:
    shown = boards.of_runs(path.parent).get(path, [])
    with holding(path):
        # Should this be interrupted, what is left is no finished run.
        (path / RESULTS).unlink(missing_ok=True)
        remove(path)
    for board in shown:
        remove(board)


def _removable(path: Path) -> bool:
    """Whether every folder that loses a file may be written to."""
    folders = [path.parent, *(Path(place) for place, _, _ in os.walk(path))]
    return all(os.access(folder, os.W_OK | os.X_OK) for folder in folders)


def _not_ours(path: str | Path, why: str = "Permission denied") -> UserError:
    return UserError(
        f"{path} cannot be removed ({why}); ask its owner, or leave it out"
    )


def cleaned(done: dict[str, Any]) -> str:
    """`clean` for people."""
    verb = "would remove" if done["dry_run"] else "removed"
    lines = [
        f"{verb} {each['path']} ({size(each['bytes'])}): {each['why']}"
        for each in done["files"]
    ]
    for run in done["removed"]:
        why = f": {run['why']}" if "why" in run else ""
        named = f"{run['name']}, {run['readable_name']}"
        lines.append(f"{verb} {named} ({size(run['bytes'])}){why}")
    lines += [f"kept {run['name']}: {run['why']}" for run in done["kept"]]
    more = f" and {len(done['files'])} other folders" if done["files"] else ""
    lines.append(f"{verb} {len(done['removed'])} runs{more}, {size(done['bytes'])}")
    return "\n".join(lines)
