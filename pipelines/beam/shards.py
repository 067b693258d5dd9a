"""What of a set is on disk: the plan, finished shards, their sidecars."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from kerasdistill.errors import StaleArtifactError, UserError
from kerasdistill.files import sealed, unsealed
from pipelines.beam import files
from pipelines.stored import records
from pipelines.stored.integrity import sealed as sealed_manifest
from pipelines.stored.layout import (
    MANIFEST_NAME,
    PLAN_NAME,
    Layout,
    member_name,
    sidecar_name,
)
from pipelines.stored.manifest import Manifest
from pipelines.stored.planning import finished_manifest, joined

SCRATCH = ".work"  # folder of unfinished files, inside the set

# A shard to be written: its pass, its number inside the pass, whether its views are
# missing, and the positions of the teachers whose own logits are.
Work = tuple[int, int, bool, tuple[int, ...]]


def kept_digests(request: dict[str, Any]) -> list[str]:
    """Weights digests of the teachers whose own logits are kept, in order."""
    kept = request["teachers"] if request["keep_members"] else ()
    return [teacher["weights_digest"] for teacher in kept]


def joined_with_earlier(output: str, request: dict[str, Any]) -> dict[str, Any]:
    """The request with what `output` holds, see `planning.joined`; StaleArtifactError
    if that is damaged."""
    for name in (MANIFEST_NAME, PLAN_NAME):
        path = files.join(output, name)
        if not FileSystems.exists(path):
            continue
        try:
            value = _read(path)
            earlier = value if name == MANIFEST_NAME else value["request"]
            return joined(request, earlier, output=output)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StaleArtifactError(
                f"{path} is damaged ({error!r}); delete the directory or choose another"
            ) from error
    return request


def unfinished(output: str, layout: Layout, digests: Sequence[str]) -> list[Work]:
    """The shards that are not there or not whole."""

    def missing(shard: tuple[int, int]) -> Work:
        name = layout.shard_name(*shard)
        members = range(len(digests))
        if not _whole(output, name):
            return (*shard, True, tuple(members))
        lost = [i for i in members if not _whole(output, member_name(name, digests[i]))]
        return (*shard, False, tuple(lost))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        works = pool.map(missing, layout.shards())
        return [work for work in works if work[2] or work[3]]


def _whole(output: str, name: str) -> bool:
    path = files.join(output, name)
    sidecar = files.join(output, sidecar_name(name))
    if not FileSystems.exists(sidecar) or not FileSystems.exists(path):
        return False
    try:
        fields = _read(sidecar)
        written = (fields["name"], fields["bytes"], fields["sha256"])
    except (ValueError, KeyError, TypeError, StaleArtifactError):
        return False
    return written == (name, *files.measure(path))


def last_written(layout: Layout, work: Work, digests: Sequence[str]) -> str:
    """The file whose sidecar says that this work is done: views come last."""
    name = layout.shard_name(*work[:2])
    return name if work[2] else member_name(name, digests[work[3][-1]])


class ShardWriter:
    """One file of records being written, and what its sidecar is going to say."""

    def __init__(self, folder: str, name: str) -> None:
        self._name = name
        self._local = os.path.join(folder, name)
        self._writer = tf.io.TFRecordWriter(self._local)
        self._digests: list[list] = []
        self._views = self._agreeing = 0
        self._labelled = True

    def add(
        self, record: bytes, block: records.Block, logits: np.ndarray, digest: str
    ) -> None:
        """Appends the record of a block, whose logits are float32 [B, K]."""
        self._writer.write(record)
        self._digests.append([block.pass_index, block.block_index, digest])
        self._agreeing += int((logits.argmax(1) == block.labels).sum())
        self._views += len(block.labels)
        self._labelled &= bool((block.labels >= 0).all())

    def publish(self, output: str, *, worker: str) -> None:
        """Puts the file into the set, then its sidecar, with which it is finished."""
        self._writer.close()
        path = files.join(output, self._name)
        size, sha256 = files.put_file(path, self._local, files.join(output, SCRATCH))
        agreement = self._agreeing / self._views if self._labelled else None
        fields = {
            "name": self._name,
            "bytes": size,
            "sha256": sha256,
            "views": self._views,
            "teacher_label_agreement": agreement,
            "block_digests": self._digests,
            "worker": worker,
        }
        # Under a checksum: the manifest takes over what it says.
        _put(output, sidecar_name(self._name), sealed(fields))


def write_plan(
    output: str, request: dict[str, Any], layout: Layout, command: str | None
) -> None:
    """Says what the set is going to be, for whoever finds it unfinished."""
    command = command or "the same call of precompute.run"
    plan = {"request": request, "layout": asdict(layout), "command": command}
    try:
        _put(output, PLAN_NAME, sealed(plan))
    except (OSError, BeamIOError) as error:
        raise UserError(
            f"cannot write to {output} ({error}); choose another `workdir`"
        ) from error


def publish_manifest(output: str, request: dict[str, Any], layout: Layout) -> Manifest:
    """Makes the set complete; every shard must have its sidecar."""
    names = layout.shard_names()
    sidecars = [_sidecar(output, name) for name in names]
    members = [
        [_sidecar(output, member_name(name, digest)) for name in names]
        for digest in kept_digests(request)
    ]
    path = files.join(output, MANIFEST_NAME)
    manifest = finished_manifest(request, sidecars, members, where=path)
    value = json.loads(json.dumps(sealed_manifest(manifest.to_json())))
    # An equal one stays: a finished command is known by what its files look like.
    if not FileSystems.exists(path) or json.loads(files.get(path)) != value:
        _put(output, MANIFEST_NAME, value)
    return manifest


def _put(output: str, name: str, value: dict[str, Any]) -> None:
    files.put_json(files.join(output, name), value, files.join(output, SCRATCH))


def _sidecar(output: str, name: str) -> dict[str, Any]:
    path = files.join(output, sidecar_name(name))
    if not FileSystems.exists(path):
        raise StaleArtifactError(
            f"{output}: shard {name} was not written; run the same command again"
        )
    return _read(path)


def _read(path: str) -> dict[str, Any]:
    return unsealed(json.loads(files.get(path)), where=path)
