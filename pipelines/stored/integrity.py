"""Whether a distillation set on disk is finished, whole and the expected one."""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kerasdistill import terminal
from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import digest_of, sha256_file
from kerasdistill.reading_files import read_bytes
from pipelines.datasets import ImageData
from pipelines.stored.averaging import AVERAGINGS
from pipelines.stored.layout import (
    AVERAGING,
    MANIFEST_NAME,
    PLAN_NAME,
    Layout,
    sidecar_name,
)
from pipelines.stored.manifest import Manifest, Shard, first_difference

# By file name: size, and the times in ns when content and inode changed last. Not the
# inode's number, of which some network file systems make up another at times.
Stamps = Mapping[str, tuple[int, int, int]]

SEAL = "manifest_sha256"
DAMAGED = "damaged: its sha256 differs"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's fields with a checksum of them all, as the file holds them."""
    return {**value, SEAL: digest_of(value)}


def read_manifest(path: Path) -> Manifest:
    """The manifest of the set at `path`; StaleArtifactError if it was damaged.

    UserError if there is none: it says what is there, and what finishes or makes it.
    """
    file = path / MANIFEST_NAME
    try:
        content = read_bytes(file, "json")
    except (FileNotFoundError, NotADirectoryError):
        raise _unfinished(path) from None
    return parse_manifest(content, where=str(file))


def parse_manifest(content: bytes, *, where: str) -> Manifest:
    """The manifest in the content of a file `where`; StaleArtifactError as above."""
    try:
        value = json.loads(content)
        seal = value.pop(SEAL, None) if isinstance(value, dict) else None
        manifest = Manifest.from_json(value, where=where)
    except ValueError as error:
        raise StaleArtifactError(
            f"{where} is not readable ({error}); precompute the set again"
        ) from error
    if seal != digest_of(value):
        raise StaleArtifactError(
            f"{where}: field {SEAL} does not fit the other fields: the manifest was "
            "damaged or edited; precompute the set again"
        )
    return manifest


def data_fields(data: ImageData) -> dict[str, Any]:
    """The manifest fields that the transfer set fixes."""
    return {
        "dataset": data.identity(),
        "class_names": list(data.class_names),
        "image_shape": list(data.image_shape),
    }


def require(path: Path, manifest: Manifest, expect: Mapping[str, Any]) -> None:
    """StaleArtifactError with the first field that is not as expected."""
    difference = first_difference(expect, manifest.to_json())
    if difference:
        field, expected, value = difference
        raise StaleArtifactError(
            f"distillation set {path}: field {field} is {value!r}, expected "
            f"{expected!r}; use a set made from this data, or precompute a new one"
        )


def chosen_members(
    path: Path, manifest: Manifest, members: Sequence[int] | None, averaging: str
) -> tuple[int, ...]:
    """Places, from 0, of the members to be read; none for the stored mean."""
    count = len(manifest.teachers)
    if averaging not in AVERAGINGS:
        names = " or ".join(AVERAGINGS)
        raise UserError(f"averaging {averaging!r} is not known; use {names}")
    wanted = list(range(1, count + 1)) if members is None else list(members)
    if not wanted or len(set(wanted)) < len(wanted):
        raise UserError(f"members {wanted} are none, or one twice; name each once")
    for member in wanted:
        if not 1 <= member <= count:
            raise UserError(f"member {member} is not in {path}, which has 1 to {count}")
    places = tuple(sorted(number - 1 for number in wanted))
    if places == tuple(range(manifest.stored_mean_of)) and averaging == AVERAGING:
        return ()
    if not manifest.keep_members:
        raise UserError(
            f"{path} keeps the mean logits of its {count} teachers only; to choose "
            "members or another averaging, precompute with `keep_members=True`"
        )
    return places


def check_shards(
    path: Path, shards: tuple[Shard, ...], progress: Callable[[int, int], None] | None
) -> Stamps:
    """StaleArtifactError if a shard is not the one in the manifest; what to give to
    `check_unchanged` after reading them."""
    stamps = {}
    for shard in shards:  # sizes first: they cost nothing
        stamps[shard.name] = found = _stamp(path / shard.name)
        if found is None:
            raise bad_shard(path, shard.name, "missing")
        size = found[0]
        if size != shard.bytes:
            verb = "truncated" if size < shard.bytes else "too long"
            reason = f"{verb}: {size} of {shard.bytes} bytes"
            raise bad_shard(path, shard.name, reason)
    done, total = 0, sum(shard.bytes for shard in shards)
    owners = {shard.sha256: f"swapped: it holds {shard.name}" for shard in shards}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(_digest, [path / shard.name for shard in shards])
        for shard, digest in zip(shards, digests, strict=True):
            if digest is None:
                raise bad_shard(path, shard.name, "missing")
            if digest != shard.sha256:
                raise bad_shard(path, shard.name, owners.get(digest, DAMAGED))
            done += shard.bytes
            if progress:
                progress(done, total)
    return stamps


def check_unchanged(path: Path, stamps: Stamps) -> None:
    """StaleArtifactError if a file in the folder is not as it was when `stamps` were
    taken. What was read of it since then is what had been checked otherwise."""
    for name, before in stamps.items():
        found = _stamp(path / name)
        if found is None:
            raise bad_shard(path, name, "missing: it was there when it was checked")
        if found != before:
            raise StaleArtifactError(
                f"distillation set {path}: shard {name} was changed or replaced after "
                "it was checked, while it was read; run the same command again, which "
                "checks it and goes on from the last finished epoch"
            )


def stamps_of(path: Path, names: Sequence[str]) -> Stamps:
    """What to give to `check_unchanged`, taken before these files are checked."""
    return {name: found for name in names if (found := _stamp(path / name))}


def _digest(file: Path) -> str | None:
    try:
        return sha256_file(file)
    except FileNotFoundError:  # since its size was looked at
        return None


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def bad_shard(path: str | Path, name: str, reason: str) -> StaleArtifactError:
    """The error that says what is wrong with a shard of the set at `path`."""
    return StaleArtifactError(
        f"distillation set {path}: shard {name} is {reason}; restore it, or run "
        "the same precompute command again to make it anew"
    )


def _unfinished(path: Path) -> UserError:
    try:
        plan = json.loads(read_bytes(path / PLAN_NAME, "json"))
        layout = Layout(**plan["layout"])
        command = plan["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return UserError(
            f"{path} is not a distillation set (no {MANIFEST_NAME}); make one with: "
            f"{terminal.program()} precompute `teacher_paths=PATH`"
        )
    names = layout.shard_names()
    done = sum((path / sidecar_name(name)).exists() for name in names)
    return UserError(
        f"distillation set {path} is unfinished: it has {done} of {len(names)} "
        f"shards; finish it with: {command}"
    )
