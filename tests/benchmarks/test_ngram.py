"""The n-gram floor: probabilities that sum to one, and a case by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "ngram.py"
SPEC = importlib.util.spec_from_file_location("ngram", FILE)
ngram = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(ngram)
TOKENS = np.random.default_rng(0).integers(0, 6, 60)


def test_probabilities_sum_to_one():
    for model in (
        ngram.unigram(TOKENS, num_words=6),
        ngram.kneser_ney(TOKENS, num_words=6, end=0),
    ):
        for context in ((0, 0), (3, 1), (5, 5)):
            assert sum(model(*context, w) for w in range(6)) == pytest.approx(1.0)


def test_unigram_by_hand():
    model = ngram.unigram(np.array([1, 1, 1, 0]), num_words=2)
    found = ngram.perplexity(model, np.array([1, 0]), end=0)
    assert found == pytest.approx((0.75 * 0.25) ** -0.5)


def test_more_context_is_better_where_it_tells():
    tokens = np.arange(300) % 5 + 1
    tokens[::37] = 0
    held_out = np.arange(40) % 5 + 1
    simple = ngram.unigram(tokens, num_words=6)
    smooth = ngram.kneser_ney(tokens, num_words=6, end=0)
    assert ngram.perplexity(smooth, held_out, end=0) < 1.5
    assert ngram.perplexity(simple, held_out, end=0) > 4
