"""A distillation set from a bucket to this machine, where training can read it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import replacing, sha256_file, write_atomic
from pipelines.beam import files
from pipelines.stored.integrity import parse_manifest
from pipelines.stored.layout import MANIFEST_NAME
from pipelines.stored.manifest import Manifest, Shard

_COPIES_AT_ONCE = 8


def manifest_at(url: str) -> tuple[Manifest, bytes]:
    """The manifest of the finished set at a URL, and the file's content.

    Raises:
        UserError: there is no finished set at `url`, or it cannot be read.
        StaleArtifactError: it was damaged or edited.
    """
    url = files.absolute(url)
    source = files.join(url, MANIFEST_NAME)
    try:
        content = files.get(source)
    except (OSError, BeamIOError, ValueError) as error:
        raise UserError(
            f"no finished distillation set can be read at {url} ({error}); finish it "
            "with precompute, or check the address and your rights"
        ) from error
    return parse_manifest(content, where=source), content


def fetch(
    url: str,
    folder: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Copies a finished set; files that are already there and whole are kept.

    Args:
        url: anything Beam's FileSystems can read, such as gs://bucket/set.
        folder: local; becomes a set of its own, its manifest written last.
        progress: called with (bytes there, bytes in all) after each shard.

    Returns:
        The folder.

    Raises:
        UserError: there is no finished set at `url`, or it cannot be read.
        StaleArtifactError: a shard arrives with another checksum.
    """
    folder = Path(folder)
    url = files.absolute(url)
    manifest, content = manifest_at(url)
    folder.mkdir(parents=True, exist_ok=True)
    shards = [*manifest.shards, *(s for each in manifest.member_shards for s in each)]
    done, total = 0, sum(shard.bytes for shard in shards)
    with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
        copies = pool.map(lambda shard: _copy(url, folder, shard), shards)
        for size in copies:
            done += size
            if progress:
                progress(done, total)
    write_atomic(folder / MANIFEST_NAME, content)
    return folder


def _copy(url: str, folder: Path, shard: Shard) -> int:
    target = folder / shard.name
    if target.is_file() and target.stat().st_size == shard.bytes:
        if sha256_file(target) == shard.sha256:
            return shard.bytes
    path = files.join(url, shard.name)
    if not FileSystems.exists(path):
        raise StaleArtifactError(
            f"distillation set {url}: shard {shard.name} is missing; restore it, or "
            "run the same precompute command again to make it anew"
        )
    with replacing(target) as beside:
        files.download(path, os.fspath(beside))
        if sha256_file(beside) != shard.sha256:
            raise StaleArtifactError(
                f"distillation set {url}: shard {shard.name} is damaged: its sha256 "
                "differs; restore it, or run the same precompute command again"
            )
    return shard.bytes
