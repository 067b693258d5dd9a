"""How good a language model is without learning: unigram and Kneser-Ney trigram.

A floor for perplexities of `language-model` on the same text: each word of one stream
is predicted, the first from `<eos>`.
"""

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np

from pipelines.words import text

Model = Callable[[int, int, int], float]  # p(third word | the two before it)


def unigram(tokens: np.ndarray, *, num_words: int) -> Model:
    """The share of each word in the text it learns from."""
    shares = np.bincount(tokens, minlength=num_words) / len(tokens)
    return lambda first, second, third: shares[third]


def kneser_ney(tokens: np.ndarray, *, num_words: int, end: int) -> Model:
    """Interpolated Kneser-Ney (Chen and Goodman 1999, section 2.7), to trigrams.

    An order's discount is n1 / (n1 + 2 n2), of the n-grams seen once and twice; lower
    orders count how many words an n-gram came after.
    """
    words = [end, end, *tokens.tolist()]
    seen = Counter(zip(words, words[1:], words[2:], strict=False))
    levels = [seen]
    for _ in range(2):
        levels.append(Counter(ngram[1:] for ngram in levels[-1]))
    tables = [_table(counts) for counts in levels]

    def probability(first: int, second: int, third: int) -> float:
        found = 1.0 / num_words
        for (counts, discount, totals), context in zip(
            reversed(tables), ((), (second,), (first, second)), strict=True
        ):
            if context not in totals:
                continue  # nothing is known after it: the lower order's
            total, followers = totals[context]
            kept = max(counts.get((*context, third), 0) - discount, 0.0)
            found = (kept + discount * followers * found) / total
        return found

    return probability


def _table(counts: Counter) -> tuple[Counter, float, dict]:
    """Counts, their discount, and of every context its sum and number of followers."""
    once, twice = (sum(value == n for value in counts.values()) for n in (1, 2))
    totals = defaultdict(lambda: (0, 0))
    for ngram, count in counts.items():
        total, followers = totals[ngram[:-1]]
        totals[ngram[:-1]] = (total + count, followers + 1)
    # A tiny text may have neither: nothing is held back then.
    return counts, once / max(1, once + 2 * twice), dict(totals)


def perplexity(model: Model, tokens: np.ndarray, *, end: int) -> float:
    """exp of the mean of -log p over all words."""
    words = [end, end, *tokens.tolist()]
    triples = zip(words, words[1:], words[2:], strict=False)
    return math.exp(-np.mean([math.log(model(*triple)) for triple in triples]))


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", help="holds train.txt, valid.txt and test.txt")
    parser.add_argument("--json", action="store_true", help="one JSON object instead")
    asked = parser.parse_args()
    data = text.load(asked.folder)
    size = {"num_words": len(data.words)}
    models = {
        "unigram": unigram(data.train, **size),
        "Kneser-Ney trigram": kneser_ney(data.train, **size, end=data.end),
    }
    splits = {"validation": data.validation, "test": data.test}
    rows = {
        name: {split: perplexity(model, t, end=data.end) for split, t in splits.items()}
        for name, model in models.items()
    }
    if asked.json:
        print(json.dumps({"benchmark": "ngram", "perplexity": rows}))
        return
    print("| perplexity | validation | test |\n|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {row['validation']:.1f} | {row['test']:.1f} |")


if __name__ == "__main__":
    main()
