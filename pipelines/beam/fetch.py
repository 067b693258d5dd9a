"""A distillation set from a bucket to this machine, where training can read it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import UserError
from kerasdistill.files import replacing, sha256_file, write_atomic
from pipelines.beam import files
from pipelines.stored.integrity import DAMAGED, bad_shard, parse_manifest
from pipelines.stored.layout import MANIFEST_NAME
from pipelines.stored.manifest import Manifest, Shard

_COPIES_AT_ONCE = 8


def manifest_at(url: str) -> tuple[Manifest, bytes]:
    """The manifest of the finished set at a URL, and the file's content.

    UserError if there is none to be read; StaleArtifactError if it is damaged.
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
    url: str, folder: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Copies a finished set to a local folder; whole files that are there are kept.

    The manifest is written last. `progress` is called with (bytes there, bytes in all).
    UserError if there is no finished set to be read at `url`; StaleArtifactError if a
    shard arrives with another checksum.
    """
    folder = Path(folder)
    url = files.absolute(url)
    manifest, content = manifest_at(url)
    folder.mkdir(parents=True, exist_ok=True)
    shards = [*manifest.shards, *(s for each in manifest.member_shards for s in each)]
    done, total = 0, sum(shard.bytes for shard in shards)
    with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
        for size in pool.map(lambda shard: _copy(url, folder, shard), shards):
            done += size
            if progress:
                progress(done, total)
    write_atomic(folder / MANIFEST_NAME, content)
    return folder


def _copy(url: str, folder: Path, shard: Shard) -> int:
    target = folder / shard.name
    there = target.is_file() and target.stat().st_size == shard.bytes
    if there and sha256_file(target) == shard.sha256:
        return shard.bytes
    path = files.join(url, shard.name)
    if not FileSystems.exists(path):
        raise bad_shard(url, shard.name, "missing")
    with replacing(target) as beside:
        files.download(path, os.fspath(beside))
        if sha256_file(beside) != shard.sha256:
            raise bad_shard(url, shard.name, DAMAGED)
    return shard.bytes
