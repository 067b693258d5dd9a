"""Text folders, vocabularies, windows: every word once, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from kerasdistill.errors import UserError
from pipelines.words import text

PTB = Path(os.environ.get("PTB_DIR", Path(__file__).parents[3] / "shared" / "ptb"))
TEXTS = {
    "train": "a cat sat\nthe cat <unk> a cat\n",
    "valid": "the cat sat\n",
    "test": "a dog sat\n\n",
}


def folder(path, prefix="", **changes):
    for name, content in {**TEXTS, **changes}.items():
        if content is not None:
            data = content if isinstance(content, bytes) else content.encode()
            (path / f"{prefix}{name}.txt").write_bytes(data)
    return path


@pytest.mark.parametrize("prefix", ["", "ptb."])
def test_words_come_from_train_alone(tmp_path, prefix, capsys):
    data = text.load(folder(tmp_path, prefix))
    assert data.words == ("cat", "<eos>", "a", "<unk>", "sat", "the")
    assert data.train.tolist() == [2, 0, 4, 1, 5, 0, 3, 2, 0, 1]
    assert data.validation.tolist() == [5, 0, 4, 1]
    # An unknown word is <unk>, and an empty line a sentence.
    assert data.test.tolist() == [2, 3, 4, 1, 1]
    told = capsys.readouterr().err
    assert "6 words" in told and "10 train / 4 validation / 5 test (1 not in" in told


def test_unknown_word_is_always_known(tmp_path):
    data = text.load(folder(tmp_path, train="a b\n"))
    assert "<unk>" in data.words and len(data.words) == 4


def test_identity_is_the_content(tmp_path):
    places = [tmp_path / name / "ptb" for name in "xyz"]
    for place in places:
        place.mkdir(parents=True)
    one, same = (text.load(folder(place)).identity() for place in places[:2])
    other = text.load(folder(places[2], test="a dog\n")).identity()
    assert one == same and one["digest"] != other["digest"]
    assert one["vocabulary_digest"] == other["vocabulary_digest"]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"valid": None}, ["valid.txt", "found none"]),
        ({"validation": "a\n"}, ["valid.txt, validation.txt"]),
        ({"train": ""}, ["train.txt", "empty"]),
        ({"test": " \n"}, ["test.txt", "empty"]),
        ({"test": b"caf\xe9 a\n"}, ["test.txt", "not UTF-8 (byte 3)"]),
    ],
)
def test_bad_folders_are_refused(tmp_path, changes, fragments):
    with pytest.raises(UserError) as refused:
        text.load(folder(tmp_path, **changes))
    assert all(fragment in str(refused.value) for fragment in fragments)


@pytest.mark.parametrize("place", [None, "/nowhere"])
def test_no_folder_is_refused(place):
    with pytest.raises(UserError, match="`folder`"):
        text.load(place)


@pytest.mark.parametrize("streams", [1, 3, 4])
@pytest.mark.parametrize("count", [4, 11, 12])
def test_every_word_is_a_target_once_in_order(streams, count):
    tokens = np.arange(10, 10 + count, dtype=np.int32)
    cut = text.windows(tokens, end=7, streams=streams, length=2)
    assert cut.num_words == count
    pairs = []
    for stream in range(streams):
        ids, targets, weights = (
            each[:, stream].reshape(-1) for each in (cut.ids, cut.targets, cut.weights)
        )
        counts = weights > 0
        assert counts.tolist() == sorted(counts, reverse=True)  # padding ends it
        pairs += zip(ids[counts].tolist(), targets[counts].tolist(), strict=True)
    assert pairs == list(zip([7, *tokens[:-1]], tokens, strict=True))


def test_windows_that_cannot_be_are_refused():
    tokens = np.arange(3, dtype=np.int32)
    for options in ({"streams": 4, "length": 2}, {"streams": 1, "length": 0}):
        with pytest.raises(UserError, match="`window`"):
            text.windows(tokens, end=0, **options)


def test_stream_begins_every_epoch_anew():
    cut = text.windows(np.arange(9, dtype=np.int32), end=0, streams=2, length=2)
    stream = text.stream(cut)
    assert (stream.steps_per_epoch, stream.examples_per_epoch) == (3, 9)
    batches = list(stream.batches(0).take(6).as_numpy_iterator())
    assert [bool(b["begins"]) for b in batches] == [True, False, False] * 2
    np.testing.assert_array_equal(batches[1]["ids"], batches[4]["ids"])


@pytest.mark.parametrize(
    ("teacher", "fragments"),
    [
        (("a", "x", "c"), ["word 1 is 'x'", "the text's is 'b'"]),
        (("a", "b"), ["3 different words, more than", "knows 2"]),
        (("a", "b", "c", "d"), ["word 3 'd' is not in the text"]),
    ],
)
def test_another_vocabulary_is_refused(teacher, fragments):
    with pytest.raises(UserError) as refused:
        text.require_same_words(("a", "b", "c"), teacher, path="t.keras")
    assert all(part in str(refused.value) for part in ["t.keras", *fragments])


@pytest.mark.skipif(not PTB.is_dir(), reason=f"the Penn Treebank is not in {PTB}")
@pytest.mark.parametrize("quick", [False, True])
def test_penn_treebank_has_its_counts(quick):
    data = text.load(PTB, quick=quick)
    counts = data.identity()["num_tokens"]
    train = text.QUICK_TOKENS if quick else 929_589
    assert counts == {"train": train, "validation": 73_760, "test": 82_430}
    assert len(data.words) == 10_000
    cut = text.windows(data.test, end=data.end, streams=1, length=35)
    assert cut.num_words == 82_430
