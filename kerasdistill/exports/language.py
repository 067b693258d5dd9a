"""A language model as a SavedModel: text or word ids in, log-probabilities out."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasdistill.errors import UserError, reason
from kerasdistill.exports import cards, tensorflow_process
from kerasdistill.files import replacing_directory
from kerasdistill.models import language, saved, trust
from kerasdistill.plain_paths import plain

# Largest difference of log-probabilities between a model and its reloaded export:
# both compute in float32, in another order of summation.
TOLERANCE = 1e-4


class Served(tf.Module):
    """What is exported, with three signatures.

    serving_default: "text" string [N] -> "log_probabilities" float32 [N, V] of the
        word after each text; words are parted by spaces, a text begins after `<eos>`.
    word_ids: "word_ids" int32 [N, T] -> "log_probabilities" [N, T, V] of the word
        after each; the state begins at zero.
    advance: "word_ids" and "state_1", "state_2", ... [N, U] -> the same, and the
        states after the last word: a long text in windows.

    `model` is one of `models.lstm`, `words` are in the order of their ids, `end` and
    `unknown` are the ids of `<eos>` and `<unk>`.
    """

    def __init__(
        self, model: keras.Model, words: tuple[str, ...], *, end: int, unknown: int
    ):
        super().__init__()
        self.model = model
        self._end = end
        table = tf.lookup.KeyValueTensorInitializer(
            tf.constant(words), tf.range(len(words), dtype=tf.int64)
        )
        self._ids = tf.lookup.StaticHashTable(table, default_value=unknown)
        ids = tf.TensorSpec((None, None), tf.int32, name="word_ids")
        states = {
            name: tf.TensorSpec((None, size), name=name)
            for name, size in self._sizes().items()
        }
        text = tf.TensorSpec((None,), tf.string, name="text")
        self.ways = {
            "serving_default": tf.function(self.after_text, [text]),
            "word_ids": tf.function(self.after_each, [ids]),
            "advance": tf.function(self.advance).get_concrete_function(ids, **states),
        }

    def _sizes(self) -> dict[str, int]:
        """Units of each state, by its name."""
        inputs = enumerate(self.model.inputs)
        return {f"state_{i}": each.shape[-1] for i, each in inputs if i}

    def after_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        words = tf.strings.split(text)
        ids = tf.cast(self._ids.lookup(words.to_tensor(" ")), tf.int32)
        lengths = tf.cast(words.row_lengths(), tf.int32)
        begin = tf.fill([tf.shape(ids)[0], 1], self._end)
        each = self.after_each(tf.concat([begin, ids], axis=1))["log_probabilities"]
        return {"log_probabilities": tf.gather(each, lengths, axis=1, batch_dims=1)}

    def after_each(self, word_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        count, sizes = tf.shape(word_ids)[0], self._sizes()
        states = {name: tf.zeros([count, size]) for name, size in sizes.items()}
        name = "log_probabilities"
        return {name: self.advance(word_ids, **states)[name]}

    def advance(self, word_ids: tf.Tensor, **states: tf.Tensor) -> dict[str, tf.Tensor]:
        """See the class."""
        names = list(self._sizes())
        before = [states[name] for name in names]
        logits, *after = self.model([word_ids, *before], training=False)
        after = dict(zip(names, after, strict=True))
        return {"log_probabilities": tf.nn.log_softmax(logits), **after}


def _logits(
    model: keras.Model, *, end: int, sample: np.ndarray, **_: Any
) -> np.ndarray:
    """Of every word [1, N + 1, V], the words `sample` [N] behind `end`."""
    ids = np.concatenate([[end], sample]).astype(np.int32)[None]
    inputs = [keras.ops.convert_to_tensor(ids), *language.start(model, 1)]
    logits = model(inputs, training=False)[0]
    return keras.ops.convert_to_numpy(logits)


@tensorflow_process.on_tensorflow(answers=_logits)
def export_language_model(
    model: keras.Model,
    path: str | Path,
    *,
    words: tuple[str, ...],
    end: int,
    unknown: int,
    card: dict[str, Any],
    sample: np.ndarray,
    workdir: str | Path | None = None,
) -> dict[str, Any]:
    """Writes `model` as a SavedModel (see `Served`), reloads it and compares.

    Args:
        model: for `Served`, as `words`, `end` and `unknown`.
        path: directory to create; an existing one is replaced once the new one is
            complete and has passed.
        card: written to `card.json` inside, with the parity added.
        sample: word ids int32 [N], N >= 1, for the comparison.
        workdir: where it is trusted from then on; see `trust.remember`.

    Returns:
        {"largest_difference", "tolerance", "num_words"}: of log-probabilities.

    Raises:
        UserError: the reloaded model's differ by more than the tolerance.
    """
    served = Served(model, words, end=end, unknown=unknown)
    with replacing_directory(path) as beside:
        tf.saved_model.save(served, str(beside), signatures=served.ways)
        parity = _parity(model, beside, words, end=end, sample=sample)
        cards.write_folder_card(beside, {**card, "parity": parity}, workdir=workdir)
    return parity


def _parity(
    model: keras.Model, path: Path, words: tuple[str, ...], *, end: int, sample
) -> dict[str, Any]:
    """Compares the last word's log-probabilities by text, and all of them by ids."""
    with plain(path) as folder:
        loaded = tf.saved_model.load(folder)  # signatures hold only weak references
    ids = tf.constant(np.concatenate([[end], sample]).astype(np.int32)[None])
    expected = tf.nn.log_softmax(_logits(model, end=end, sample=sample))
    text = tf.constant([" ".join(words[i] for i in sample)])
    by_ids = loaded.signatures["word_ids"](word_ids=ids)["log_probabilities"]
    by_text = loaded.signatures["serving_default"](text=text)["log_probabilities"]
    differences = (by_ids - expected, by_text - expected[:, -1])
    difference = float(np.max([np.abs(each).max() for each in differences]))
    if not difference <= TOLERANCE:
        raise UserError(
            f"the exported model's log-probabilities differ by {difference:.3g} from "
            f"the original's, more than {TOLERANCE:.3g}; nothing was written"
        )
    return {
        "largest_difference": difference,
        "tolerance": TOLERANCE,
        "num_words": len(sample) + 1,
    }


class SavedLanguageModel(saved.RunByTensorFlow):
    """A loaded SavedModel, streamed like a model of `models.lstm`.

    Raises:
        UserError: no SavedModel there, not one of a language model, or not trusted.
    """

    def __init__(self, path: str | Path):
        trust.require_trust(path)
        try:
            with plain(path) as folder:
                self._loaded = tf.saved_model.load(folder)
            self._advance = self._loaded.signatures["advance"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"{path} is not the SavedModel of a language model ({reason(error)}); "
                "pass one that language-model wrote, or its .keras file"
            ) from error
        specs = self._advance.structured_input_signature[1]
        count = sum(name.startswith("state_") for name in specs)
        self._names = [f"state_{i}" for i in range(1, count + 1)]
        self.inputs = [specs["word_ids"], *(specs[name] for name in self._names)]

    def __call__(self, inputs, training=False):
        """[ids, states] -> [log-probabilities, states]."""
        return list(saved.by_tensorflow(self._after, *inputs))

    def _after(self, ids, *states) -> list[tf.Tensor]:
        before = dict(zip(self._names, states, strict=True))
        after = self._advance(word_ids=ids, **before)
        return [after["log_probabilities"], *(after[name] for name in self._names)]
