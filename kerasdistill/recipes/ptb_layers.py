"""Layers of the second paper's language models."""

from kerasdistill.budget import dense_params
from kerasdistill.recipes.architectures import CharCnnLstm, Lstm
from kerasdistill.recipes.rows import Row, Rows

_LETTERS = 48  # of the Treebank; a word's begin, its end and padding come beside


def lstm(network: Lstm, *, num_words: int) -> list[Row]:
    at = Rows((None,), name="word_ids")
    units = network.units
    count = num_words * (units + 1)  # one matrix for both ways, and the logits' bias
    at.add("words", "TiedEmbedding", (None, units), count)
    _dropout(at, network.dropout_rate, 0)
    return _stack(at, network)


def char_cnn_lstm(
    network: CharCnnLstm,
    *,
    num_words: int,
    num_characters: int = _LETTERS + 3,
    word_length: int = _LETTERS + 2,
) -> list[Row]:
    """`word_length` is the longest word's, with begin and end, in characters."""
    at = Rows((None,), name="word_ids")
    length, size = max(word_length, *network.kernels), network.character_units
    at.add("spelling", "Spelling", (None, length))
    at.add("characters", "Embedding", (None, length, size), num_characters * size)
    widths = list(zip(network.kernels, network.filters, strict=True))
    for kernel, filters in widths:
        count = dense_params(kernel * size, filters)
        shape = (None, length - kernel + 1, filters)
        at.add(f"width_{kernel}", "Conv2D", shape, count)
    for kernel, filters in widths:
        at.add(f"width_{kernel}_largest", "LargestAlongWord", (None, filters))
    word = sum(network.filters)
    at.add("word", "Concatenate", (None, word))
    for number in range(1, network.highways + 1):
        at.add(f"highway_{number}", "Highway", count=2 * dense_params(word, word))
    rows = _stack(at, network)
    shape = (None, num_words)
    at.add("words", "Words", shape, dense_params(network.units, num_words))
    return rows


def _stack(at: Rows, network: Lstm | CharCnnLstm) -> list[Row]:
    """The LSTM layers, each with its state as an input and an output."""
    units = network.units
    for number in range(1, network.layers + 1):
        inputs = at.shape[-1]
        for part in ("hidden", "cell"):
            at.add(f"{part}_{number}", "InputLayer", (units,))
        outputs = ([None, units], [units], [units])
        count = dense_params(inputs + units, 4 * units)
        at.add(f"lstm_{number}", "WindowLSTM", outputs, count)
        at.shape = (None, units)
        _dropout(at, network.dropout_rate, number)
    return at.rows


def _dropout(at: Rows, rate: float, number: int) -> None:
    if rate:
        at.add(f"dropout_{number}", "Dropout")
