"""Files that are changed between the check and the reading end the reading."""

import os
from pathlib import Path

import pytest
import tensorflow as tf

from kerasdistill.errors import StaleArtifactError
from kerasdistill.experiments import student
from pipelines import distillation_set
from pipelines.stored import resident, verification

from .test_text_signal import cut_of, data, job  # noqa: F401 (a fixture)
from .test_text_signal import read as read_signal


def replace(file: Path, other: Path) -> None:
    """By another file of the same size and time of change, as rsync puts one there."""
    beside, before = file.with_suffix(".new"), file.stat()
    beside.write_bytes(other.read_bytes().ljust(before.st_size, b"\0"))
    os.truncate(beside, before.st_size)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.rename(file)


def rewrite(file: Path, other: Path) -> None:
    """In place, and the time put back."""
    before = file.stat()
    with open(file, "r+b") as opened:
        opened.write(other.read_bytes()[: before.st_size])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_and_back(file: Path, other: Path) -> None:
    """Another was in its place for a while only."""
    aside = file.with_suffix(".aside")
    file.rename(aside)
    file.write_bytes(other.read_bytes())
    aside.rename(file)


def link(file: Path, other: Path) -> None:
    file.unlink()
    file.symlink_to(other)


def folder(file: Path, other: Path) -> None:
    file.unlink()
    file.mkdir()


FAULTS = {
    "replaced": replace,
    "rewritten": rewrite,
    "swapped and back": swap_and_back,
    "a link to another": link,
    "a folder": folder,
    "truncated": lambda file, other: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file, other: os.truncate(file, 0),
    "longer": lambda file, other: file.write_bytes(file.read_bytes() * 2),
    "gone": lambda file, other: file.unlink(),
    "touched": lambda file, other: file.touch(),
}


def all_of_it(stored):
    list(stored.dataset(8))


def in_memory(stored):
    how = {"strategy": tf.distribute.get_strategy(), "keep": True}
    stream = resident.stream(stored, batch_size=8, passes=2, **how)
    for epoch in range(2):
        stream.prepare(epoch)


def some_blocks(stored):
    list(stored.blocks({(0, 0), (1, 2)}))


READERS = {
    "images": ("images", all_of_it),
    "replay": ("replay", all_of_it),
    "in memory": ("replay", in_memory),
    "blocks": ("images", some_blocks),
}


@pytest.fixture(scope="module")
def once():
    return {}


@pytest.fixture
def shards(make_set, image_data, once, tmp_path):
    """The function that opens a copy of a set; its first and its second shard."""

    def opened(store):
        if store not in once:
            once[store] = make_set(f"made-{store}", store=store).distillation_set
        copy = tmp_path / store
        copy.mkdir()
        for file in Path(once[store]).iterdir():
            if file.is_file():
                (copy / file.name).write_bytes(file.read_bytes())
        stored = distillation_set.open(copy, data=image_data)
        return stored, *sorted(copy.glob("pass-00000*"))[:2]

    return opened


@pytest.mark.parametrize(
    ("fault", "reader"),
    [
        pytest.param(
            *(fault, reader),
            marks=[] if "replaced" == fault or reader == "images" else pytest.mark.slow,
        )
        for fault in FAULTS
        for reader in READERS
    ],
)
def test_a_set_that_changes_is_refused(fault, reader, shards):
    store, read = READERS[reader]
    stored, first, second = shards(store)
    with pytest.raises(StaleArtifactError, match=first.name), stored.reading():
        FAULTS[fault](first, second)
        read(stored)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_changed_after_it_was_read_may_have_changed_before(fault, shards):
    stored, first, second = shards("images")
    with pytest.raises(StaleArtifactError, match=first.name), stored.reading():
        read = iter(stored.dataset(41))
        next(read)
        FAULTS[fault](first, second)


def test_what_is_read_may_be_read_again(shards):
    stored, first, second = shards("replay")
    with stored.reading():
        for read in (all_of_it, in_memory, some_blocks):
            read(stored)
        first.with_suffix(".other").write_bytes(b"")  # a neighbour is none of its own


@pytest.mark.parametrize("fault", FAULTS)
def test_a_texts_signal_that_changes_is_refused(fault, job, tmp_path):  # noqa: F811
    for file in Path(job.output).iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    first, second = (tmp_path / name for name in job.request.shards)
    signal = read_signal(job, path=tmp_path)
    stream = signal.stream(cut_of(data()))
    with pytest.raises(StaleArtifactError, match=first.name), signal.reading():
        FAULTS[fault](first, second)
        list(stream.batches(0).take(2 * stream.steps_per_epoch))
        stream.check()


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("fault", ["replaced", "gone"])
def test_nothing_learned_from_a_changed_set_is_kept(fault, in_memory, shards):
    """`test_fit` shows that a training asks its stream before it keeps anything."""
    stored, first, second = shards("replay")
    how = {"batch_size": 8, "passes": 2, "in_memory": in_memory}
    stream = student.stored_stream(stored, **how)
    stream.prepare(0)
    stream.check()
    FAULTS[fault](first, second)
    with pytest.raises(StaleArtifactError, match=first.name), stored.reading():
        stream.prepare(1)
        stream.check()


@pytest.mark.parametrize("fault", ["replaced", "swapped and back", "gone"])
def test_verify_notices_a_set_that_is_replaced_meanwhile(fault, shards, image_data):
    stored, first, second = shards("images")

    def after_the_first_pass(done, total):
        if done == 1:
            FAULTS[fault](first, second)

    with pytest.raises(StaleArtifactError, match=first.name):
        how = {"data": image_data, "progress": after_the_first_pass}
        verification.check_content(stored, **how)
