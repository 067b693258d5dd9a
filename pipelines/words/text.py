"""Text folders as word ids, and the windows that models read: the one place for both.

A split is one long text. Each of its words is predicted from all that came before it,
the first from `<eos>`.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasdistill.errors import UserError
from kerasdistill.files import digest_of
from kerasdistill.reading_files import read_bytes
from kerasdistill.terminal import say
from kerasdistill.training.epochs import EpochStream

END, UNKNOWN = "<eos>", "<unk>"
QUICK_TOKENS = 300_000
_SPLITS = {"train": ["train"], "validation": ["valid", "validation"], "test": ["test"]}


@dataclass(frozen=True, eq=False)
class TextData:
    """Three texts over one vocabulary, which is made of the first alone.

    words: in the order of their ids, the most frequent first; train, validation,
    test: int32 [tokens].
    """

    name: str
    words: tuple[str, ...]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def end(self) -> int:
        """Id of `<eos>`."""
        return self.words.index(END)

    def split(self, name: str) -> np.ndarray:
        """The split of that name, int32 [tokens]."""
        return {each: getattr(self, each) for each in _SPLITS}[name]

    def identity(self) -> dict[str, Any]:
        """What tells this text from others: the folder's own name, and its content."""
        digest = hashlib.sha256()
        for name in _SPLITS:
            digest.update(np.ascontiguousarray(self.split(name), "<i4").data)
        return {
            "name": self.name,
            "vocabulary_digest": digest_of(list(self.words)),
            "num_words": len(self.words),
            "num_tokens": {name: len(self.split(name)) for name in _SPLITS},
            "digest": digest.hexdigest(),
        }


@dataclass(frozen=True, eq=False)
class Windows:
    """A text cut into windows of streams; arrays [windows, streams, length].

    ids and targets are int32, weights float32: 0 where a stream has ended. All but
    the last window of a text are full, and stream s goes on in the next window's s.
    """

    ids: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_words(self) -> int:
        """Targets that count."""
        return int(np.count_nonzero(self.weights))


def load(folder: str | Path | None, *, quick: bool = False) -> TextData:
    """Reads three texts: a sentence a line, spaces between words. Prints the counts.

    `folder` holds train.txt, valid.txt (or validation.txt) and test.txt, or files such
    as ptb.train.txt. With `quick`, train has the first 300,000 words; vocabulary and
    other splits stay. UserError for no folder, or a split that is missing, empty, not
    UTF-8 or there twice.
    """
    if folder is None or not Path(folder).is_dir():
        raise UserError(
            f"text folder {folder} is not there; give one that holds train.txt, "
            "valid.txt and test.txt with `folder`"
        )
    folder = Path(folder)
    texts = {name: _read(folder, name) for name in _SPLITS}
    counts = Counter(texts["train"]) | Counter((END, UNKNOWN))
    words = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    number = {word: i for i, word in enumerate(words)}
    ids, unknown = {}, {}
    for name, text in texts.items():
        ids[name] = np.array([number.get(word, -1) for word in text], np.int32)
        new = ids[name] < 0
        ids[name][new] = number[UNKNOWN]
        unknown[name] = f" ({np.sum(new):,} not in train)" if new.any() else ""
    parts = [f"{len(tokens):,} {name}{unknown[name]}" for name, tokens in ids.items()]
    counts = f"{len(words):,} words, tokens {' / '.join(parts)}"
    say(f"{folder}: {counts}")
    if quick and len(ids["train"]) > QUICK_TOKENS:
        ids["train"] = ids["train"][:QUICK_TOKENS]
        note = f"`quick=True`: the first {QUICK_TOKENS:,} words are trained on"
        say(note)
    return TextData(name=folder.resolve().name, words=words, **ids)


def windows(tokens: np.ndarray, *, end: int, streams: int, length: int) -> Windows:
    """Every token of a text, int32 [N], as a target once.

    The text is cut into B = `streams` pieces and each into windows of T = `length`
    words; the first token is predicted from `end`. UserError for fewer tokens than
    streams, or a window below 1.
    """
    if length < 1 or not 1 <= streams <= len(tokens):
        raise UserError(
            f"windows of {length} words in {streams} streams were asked for, the text "
            f"has {len(tokens):,}; give `window` and `batch_size` above 0 and a text "
            "with more words than streams"
        )
    steps = -(-len(tokens) // streams)
    count = -(-steps // length)

    def cut(values: np.ndarray) -> np.ndarray:
        padded = np.zeros(streams * steps, values.dtype)
        padded[: len(values)] = values
        rows = np.zeros((streams, count * length), values.dtype)
        rows[:, :steps] = padded.reshape(streams, steps)
        parts = rows.reshape(streams, count, length).transpose(1, 0, 2)
        return np.ascontiguousarray(parts)

    ids = np.concatenate([np.array([end], np.int32), tokens[:-1]])
    return Windows(cut(ids), cut(tokens), cut(np.ones(len(tokens), np.float32)))


def stream(cut: Windows) -> EpochStream:
    """The windows in order, again and again, as training data.

    A batch is {"ids", "targets", "weights" [B, T], "begins" bool []}; the first window
    of an epoch begins.
    """
    columns = {
        "ids": cut.ids,
        "targets": cut.targets,
        "weights": cut.weights,
        "begins": np.arange(len(cut)) == 0,
    }
    epoch = tf.data.Dataset.from_tensor_slices(columns)
    return EpochStream(
        steps_per_epoch=len(cut),
        examples_per_epoch=cut.num_words,
        batches=lambda first_epoch: epoch.repeat().prefetch(4),
    )


def encode(text: str, words: tuple[str, ...]) -> np.ndarray:
    """Ids of a text's words, of `<unk>` for those not in `words`: int32 [N]."""
    number = {word: i for i, word in enumerate(words)}
    unknown = number[UNKNOWN]
    return np.array([number.get(word, unknown) for word in text.split()], np.int32)


def require_same_words(
    words: tuple[str, ...], teacher: tuple[str, ...], *, path: str | Path
) -> None:
    """UserError with the first word that differs, unless both are the same."""
    if len(words) > len(teacher):
        raise UserError(
            f"the text has {len(words):,} different words, more than teacher {path}, "
            f"which knows {len(teacher):,}; use a teacher of this text"
        )
    for number, (ours, theirs) in enumerate(zip_longest(words, teacher)):
        if ours != theirs:
            differs = f"is {theirs!r}, the text's is {ours!r}"
            lacks = f"{theirs!r} is not in the text"
            raise UserError(
                f"teacher {path} has another vocabulary: its word {number} "
                f"{lacks if ours is None else differs}; use a teacher of this text"
            )


def _read(folder: Path, split: str) -> list[str]:
    names = _SPLITS[split]
    ends = tuple(f".{name}.txt" for name in names)
    paths = [x for x in sorted(folder.glob("*.txt")) if f".{x.name}".endswith(ends)]
    if len(paths) != 1:
        there = ", ".join(path.name for path in paths) or "none"
        raise UserError(
            f"{folder}: the {split} split needs one file {names[0]}.txt or "
            f"*.{names[0]}.txt, found {there}; add it or remove what is too much"
        )
    path = paths[0]
    if not path.is_file():
        raise UserError(f"{path} is not a file; it should hold a sentence a line")
    try:
        text = read_bytes(path, "text").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start}); convert it, as with iconv"
        ) from error
    if not text.strip():
        raise UserError(f"{path} is empty; it should hold a sentence a line")
    lines = text.removesuffix("\n").split("\n")
    return [word for line in lines for word in (*line.split(), END)]
