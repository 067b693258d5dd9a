"""Words that a language model draws, one by one, after a text."""

from pathlib import Path

import numpy as np

from kerasdistill.experiments.language import saved
from kerasdistill.models import language
from kerasdistill.seeds import derive_seed
from kerasdistill.training import engines
from pipelines.words import text


def go_on(path: str | Path, beginning: str, *, words: int, seed: int) -> str:
    """The beginning and `words` words drawn from the model's probabilities.

    `beginning` is words with spaces between them, read after `<eos>`; may be empty.
    """
    model, card = saved.load(path)
    vocabulary = tuple(card["words"])
    generator = np.random.Generator(np.random.Philox(derive_seed(seed, "sample")))
    end = vocabulary.index(text.END)
    ids = np.concatenate([[end], text.encode(beginning, vocabulary)]).astype(np.int32)
    step = engines.current().compiled(
        lambda ids, states: model([ids, *states], training=False), [model]
    )
    states = language.start(model, 1)
    for number in ids:
        logits, *states = step(np.array([[number]], np.int32), states)
    drawn = []
    for _ in range(words):
        logits = np.asarray(logits)[0, -1].astype(np.float64)
        # The largest of logits with Gumbel noise is a draw from their softmax.
        number = int(np.argmax(logits + generator.gumbel(size=logits.shape)))
        drawn.append(vocabulary[number])
        logits, *states = step(np.array([[number]], np.int32), states)
    return " ".join([*beginning.split(), *drawn])
