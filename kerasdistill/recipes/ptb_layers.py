"""Layers of the second paper's language models."""

from kerasdistill.budget import dense_params
from kerasdistill.recipes.architectures import CharCnnLstm, Lstm
from kerasdistill.recipes.rows import Rows

_LETTERS = 48  # of the Treebank; a word's begin, its end and padding come beside


def lstm(at: Rows, network: Lstm, num_words: int) -> None:
    """The embedding serves both ways; only the first is a layer of its own."""
    units = network.units
    count = num_words * (units + 1)  # one matrix for both ways, and the logits' bias
    at.layer("words", "TiedEmbedding", (None, units), count)
    _dropout(at, network.dropout_rate, 0)
    _stack(at, network)


def char_cnn_lstm(
    at: Rows,
    network: CharCnnLstm,
    num_words: int,
    *,
    num_characters: int = _LETTERS + 3,
    word_length: int = _LETTERS + 2,
) -> None:
    """`word_length` is the longest word's, with begin and end, in characters."""
    length, size = max(word_length, *network.kernels), network.character_units
    at.layer("spelling", "Spelling", (None, length))
    at.layer("characters", "Embedding", (None, length, size), num_characters * size)
    widths = list(zip(network.kernels, network.filters, strict=True))
    for kernel, filters in widths:
        count = dense_params(kernel * size, filters)
        shape = (None, length - kernel + 1, filters)
        at.layer(f"width_{kernel}", "Conv2D", shape, count)
    for kernel, filters in widths:
        at.layer(f"width_{kernel}_largest", "LargestAlongWord", (None, filters))
    word = sum(network.filters)
    at.layer("word", "Concatenate", (None, word))
    for number in range(1, network.highways + 1):
        at.layer(f"highway_{number}", "Highway", count=2 * dense_params(word, word))
    _stack(at, network)
    count = dense_params(network.units, num_words)
    at.layer("words", "Words", (None, num_words), count)


def _stack(at: Rows, network: Lstm | CharCnnLstm) -> None:
    """The LSTM layers, each with its state as an input and an output."""
    units = network.units
    for number in range(1, network.layers + 1):
        inputs = at.shape[-1]
        for part in ("hidden", "cell"):
            at.layer(f"{part}_{number}", "InputLayer", (units,))
        outputs = ([None, units], [units], [units])
        count = dense_params(inputs + units, 4 * units)
        at.layer(f"lstm_{number}", "WindowLSTM", outputs, count)
        at.x = (None, units)
        _dropout(at, network.dropout_rate, number)


def _dropout(at: Rows, rate: float, number: int) -> None:
    if rate:
        at.dropout(f"dropout_{number}", rate)
