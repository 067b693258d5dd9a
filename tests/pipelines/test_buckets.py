"""Sets in a bucket, by way of a file system that only Beam knows."""

from pathlib import Path

import numpy as np
import pytest

from kerasdistill.errors import StaleArtifactError, UserError
from pipelines import distillation_set
from pipelines.beam.fetch import fetch


def test_a_set_in_a_bucket_equals_a_local_one(make_set, bucket, tmp_path):
    url, place = bucket
    made = make_set(output=url)
    assert made.distillation_set == url
    assert made.content_digest == make_set("local").content_digest
    assert (place / "manifest.json").is_file() and not (place / ".work").exists()
    seen = []
    fetched = fetch(url, tmp_path / "copy", progress=lambda *now: seen.append(now))
    assert seen[-1][0] == seen[-1][1] == made.bytes
    pairs = zip(
        distillation_set.open(fetched).dataset(10).as_numpy_iterator(),
        distillation_set.open(tmp_path / "local").dataset(10).as_numpy_iterator(),
        strict=True,
    )
    for copied, local in pairs:
        for name, value in local.items():
            np.testing.assert_array_equal(copied[name], value)


def test_only_what_is_missing_is_fetched(make_set, bucket, tmp_path):
    url, _ = bucket
    make_set(output=url, passes=1)
    copy = fetch(url, tmp_path / "copy")
    times = {path: path.stat().st_mtime_ns for path in copy.glob("*.tfrecord-*")}
    damaged = next(iter(times))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    make_set(output=url, passes=2)  # more passes arrive, too
    fetch(url, copy)
    for path, time in times.items():
        assert (path.stat().st_mtime_ns == time) == (path != damaged)
    assert distillation_set.open(copy).manifest.passes == 2


def test_what_cannot_be_fetched_is_told(make_set, bucket, tmp_path):
    url, place = bucket
    with pytest.raises(UserError, match="no finished distillation set"):
        fetch(url, tmp_path / "copy")
    with pytest.raises(UserError, match="nowhere://bucket/set cannot be opened"):
        fetch("nowhere://bucket/set", tmp_path / "copy")
    with pytest.raises(UserError, match="nowhere://bucket/set cannot be opened"):
        make_set(output="nowhere://bucket/set")
    make_set(output=url, passes=1)
    shard = sorted(Path(place).glob("pass-*"))[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StaleArtifactError, match=f"{shard.name} is damaged"):
        fetch(url, tmp_path / "copy")
    shard.unlink()
    with pytest.raises(StaleArtifactError, match=f"{shard.name} is missing"):
        fetch(url, tmp_path / "copy")
    assert not (tmp_path / "copy" / "manifest.json").exists()
