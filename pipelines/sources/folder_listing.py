"""Finds the files of a stranger's folder; what is left out is counted and named."""

import difflib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kerasdistill.errors import UserError, one_line

#: Splits in the order in which they are read, and what their folders may be called.
SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
_MOST_NAMES = 5

# Why a file is left out.
DEAD = "behind dead links"
LOOP = "behind links to a folder that they lie in"
SPECIAL = "pipes, devices or sockets"
STRAY = "outside the class folders"
UNREADABLE = "unreadable"


class LeftOut:
    """What lies in a folder and is not read: [(path, kind, reason or ""), ...]."""

    def __init__(self, root: str, entries: Iterable[tuple[str, str, str]] = ()) -> None:
        self.root = root
        self.entries = list(entries)

    def add(self, path: str, kind: str, reason: str = "") -> None:
        self.entries.append((path, kind, reason))

    def inside(self, folders: Collection[str]) -> "LeftOut":
        """What of it lies in one of these folders."""
        starts = tuple(os.path.join(folder, "") for folder in folders)
        return LeftOut(self.root, (e for e in self.entries if e[0].startswith(starts)))

    def text(self) -> str:
        """How many, and by kind the first names, the first with its reason."""
        kinds: dict[str, list[str]] = {}
        for path, kind, reason in self.entries:
            names = kinds.setdefault(kind, [])
            name = os.path.relpath(path, self.root)
            names.append(f"{name}: {reason}" if reason and not names else name)
        parts = [f"{kind} ({some(names)})" for kind, names in kinds.items()]
        if len(kinds) > 1:
            counts = map(len, kinds.values())
            parts = [f"{n:,} {part}" for n, part in zip(counts, parts, strict=True)]
        count = len(self.entries)
        were = "file was" if count == 1 else "files were"
        return f"{count:,} {were} skipped: {', '.join(parts)}"

    def in_brackets(self) -> str:
        """The text for the end of a sentence; "" where nothing is left out."""
        return f" ({self.text()})" if self.entries else ""


@dataclass(frozen=True)
class Listing:
    """Files of labelled images: by split in `SPLITS`' order, by class, by name.

    splits, labels and paths are as long as each other; folders: those of the classes
    in train, by class name.
    """

    class_names: tuple[str, ...]
    splits: list[str]
    labels: list[int]
    paths: list[str]
    roots: Mapping[str, str]
    folders: Mapping[str, list[str]]
    notes: tuple[str, ...]


def labelled(root: str, left_out: LeftOut) -> Listing:
    """Lists <split>/<class>/<image>, with images in deeper folders of a class.

    UserError for no train/, two folders for one split, fewer than two classes, a class
    name that is no text, or a class that train/ lacks.
    """
    roots, others = _split_folders(root)
    classes = {split: _class_folders(path, left_out) for split, path in roots.items()}
    by_class, notes = _joined(classes)
    names = tuple(sorted(by_class["train"]))
    if len(names) < 2:
        raise UserError(
            f"{roots['train']} has {len(names)} class folders, expected at least two: "
            "put each class's images into a folder of its own"
            f"{left_out.in_brackets()}"
        )
    splits, labels, paths, deeper = [], [], [], []
    for split, folders in by_class.items():
        _check_known(roots[split], folders, names)
        for label, name in enumerate(names):
            for folder in folders.get(name, ()):
                for path in walk(folder, left_out):
                    splits.append(split)
                    labels.append(label)
                    paths.append(path)
                    if (parent := os.path.dirname(path)) != folder:
                        deeper.append(os.path.relpath(parent, root))
    if deeper:
        first = some(list(dict.fromkeys(deeper)))
        notes += (f"files in deeper folders are read too: {len(deeper):,} ({first})",)
    if others:
        count, first = len(others), some(others)
        notes += (f"names beside the splits that are not read: {count:,} ({first})",)
    return Listing(names, splits, labels, paths, roots, by_class["train"], notes)


def walk(folder: str, left_out: LeftOut) -> Iterator[str]:
    """Regular files at any depth of an absolute path, in the order of their paths.

    Links are followed, but not into a folder that they lie in; names that begin with a
    dot, and what macOS packs beside files, are left out without a word.
    """
    around = {os.path.realpath(parent) for parent in Path(folder).parents}
    around |= set(map(str, Path(os.path.realpath(folder)).parents))
    pending = [(folder, False, frozenset(around))]
    while pending:
        path, plain, above = pending.pop()
        if plain:
            yield path
        elif os.path.isdir(path):
            if (here := os.path.realpath(path)) in above:
                left_out.add(path, LOOP)
                continue
            try:
                entries = _entries(path)
            except PermissionError as error:
                left_out.add(path, UNREADABLE, error.strerror)
                continue
            within = above | {here}
            pending += [
                (entry.path, entry.is_file(follow_symlinks=False), within)
                for entry in reversed(entries)
            ]
        elif os.path.isfile(path):
            yield path
        else:
            left_out.add(path, SPECIAL if os.path.exists(path) else DEAD)


def some(names: Collection[str]) -> str:
    """The first names, and how many more there are."""
    first = ", ".join(one_line(name) for name in list(names)[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{first} and {more:,} more" if more > 0 else first


def _entries(folder: str) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        seen = [e for e in entries if e.name[0] != "." and e.name != "__MACOSX"]
    return sorted(seen, key=lambda entry: entry.name)


def _split_folders(root: str) -> tuple[dict[str, str], list[str]]:
    """Split -> its folder, in `SPLITS`' order; and other names."""
    found: dict[str, os.DirEntry] = {}
    others = []
    for entry in _entries(root) if os.path.isdir(root) else ():
        split = _SPLIT_OF.get(entry.name.lower())
        if split is None or not os.path.isdir(entry.path):
            others.append(entry.name)
        elif split in found:
            raise UserError(
                f"{root} has both {found[split].name}/ and {entry.name}/, expected one "
                f"{split} folder; join or rename them"
            )
        else:
            found[split] = entry
    if "train" not in found:
        has = f" (it has {some(others)})" if others else ""
        raise UserError(
            f"{root} has no train/ inside{has}; expected train/<class>/<image>"
        )
    return {split: found[split].path for split in SPLITS if split in found}, others


def _class_folders(split: str, left_out: LeftOut) -> list[str]:
    folders = []
    for entry in _entries(split):
        if not os.path.isdir(entry.path):
            dead = not os.path.exists(entry.path)
            left_out.add(entry.path, DEAD if dead else STRAY)
        elif entry.name.isprintable():  # nor what bytes that are no text were read as
            folders.append(entry.path)
        else:
            raise UserError(
                f"{split} has a class folder {entry.name!r}, which is no plain text; "
                "rename it"
            )
    return folders


def _joined(
    classes: Mapping[str, list[str]],
) -> tuple[dict[str, dict[str, list[str]]], tuple[str, ...]]:
    """Split -> class -> its folders; the forms in which Unicode writes a name are one.

    Systems differ in the form that they keep (macOS takes accents apart), so that the
    same pictures would have other classes on another machine.
    """
    forms: dict[str, set[str]] = defaultdict(set)
    joined: dict[str, dict[str, list[str]]] = {split: {} for split in classes}
    for split, folders in classes.items():
        for folder in folders:
            written = os.path.basename(folder)
            name = unicodedata.normalize("NFC", written)
            forms[name].add(written)
            joined[split].setdefault(name, []).append(folder)
    several = sorted(name for name, names in forms.items() if len(names) > 1)
    said = f"names in two Unicode forms were taken as one class each: {some(several)}"
    return joined, (said,) if several else ()


def _check_known(root: str, folders: Iterable[str], known: tuple[str, ...]) -> None:
    unknown = []
    for name in sorted(set(folders) - set(known)):
        near = [k for k in known if k.casefold() == name.casefold()]
        near = near or difflib.get_close_matches(name, known, n=1)
        unknown.append(f"{name} (did you mean {near[0]}?)" if near else name)
    if unknown:
        many = "a class" if len(unknown) == 1 else f"{len(unknown)} classes"
        raise UserError(
            f"{root} has {many} that train/ lacks: {some(unknown)}; rename or remove "
            f"{'it' if len(unknown) == 1 else 'them'}"
        )
