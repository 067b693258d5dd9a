"""Language models of Furlanello et al. on the Penn Treebank.

What the paper leaves open: docs/papers/born-again.md.

Perplexity, Table 6 (10,000 words; students learn BAN+L):

    network   parameters  teacher val  BAN val  teacher test  BAN test
    cnn-lstm  19M         83.69        80.27    80.05         76.97
    lstm      52M         75.11        71.19    71.87         68.56

Ours with tied weights, two layers and biases: 51,022,000 and 19,367,965 (51
characters). The loss is summed over the steps of a window and averaged over the
batch, which is what learning rates of 1 and 2 go with (Kim et al.'s code).
"""

from dataclasses import replace

from kerasdistill.errors import UserError
from kerasdistill.recipes.architectures import CharCnnLstm, LanguageNetwork, Lstm
from kerasdistill.recipes.base import LanguageModelRecipe, TextTraining

NAMES = ("lstm", "cnn-lstm")
SIZES = ("paper", "small")

# "lstm" in the paper's size is the PyTorch example's network (one vector of biases);
# `small` is made for two cores. cnn-lstm's are Kim et al.'s (2016) large and small.
ARCHITECTURES: dict[tuple[str, str], LanguageNetwork] = {
    ("lstm", "paper"): Lstm(units=1500, layers=2, dropout_rate=0.65),
    ("lstm", "small"): Lstm(units=200, layers=2, dropout_rate=0.2),
    ("cnn-lstm", "paper"): CharCnnLstm(
        character_units=15,
        kernels=(1, 2, 3, 4, 5, 6, 7),
        filters=(50, 100, 150, 200, 200, 200, 200),
        highways=2,
        units=650,
        layers=2,
        dropout_rate=0.5,
    ),
    ("cnn-lstm", "small"): CharCnnLstm(
        character_units=15,
        kernels=(1, 2, 3, 4, 5, 6),
        filters=(25, 50, 75, 100, 125, 150),
        highways=1,
        units=300,
        layers=2,
        dropout_rate=0.2,
    ),
}

# A longest gradient of 5 is Kim's, and with a rate of 1 the longest step is that of
# the PyTorch example (0.25 times 20).
TRAININGS = {
    "lstm": TextTraining(learning_rate=1.0, clip_norm=5.0),
    "cnn-lstm": TextTraining(
        learning_rate=2.0, batch_size=20, decay=0.5, least_gain=0.5, clip_norm=5.0
    ),
}


def language_model(
    name: str, *, size: str = "paper", layers: int | None = None
) -> LanguageModelRecipe:
    """How the network called `name` is trained on labels.

    Args:
        name: one of `NAMES`.
        size: "paper", or "small" for two cores.
        layers: LSTM layers (None: 2, which the paper's printed count suggests; its
            text says "single layer").

    Raises:
        UserError: another name or size.
    """
    if name not in NAMES or size not in SIZES:
        raise UserError(
            f"language model {name!r} of size {size!r} is not known; expected "
            f"{' or '.join(NAMES)}, {' or '.join(SIZES)}"
        )
    network = ARCHITECTURES[name, size]
    if layers is not None:
        network = replace(network, layers=layers)
    return LanguageModelRecipe(network, TRAININGS[name])


def notes(name: str, *, size: str) -> list[str]:
    """What to know about a printed count."""
    if (name, size) != ("lstm", "paper"):
        return []
    return [
        'the paper prints 52M and says "single layer", which has 33.02M; two layers, '
        "built here, are nearest (51.02M), and the whole recipe is that of PyTorch's "
        "two-layer example"
    ]


def quick(recipe: LanguageModelRecipe) -> LanguageModelRecipe:
    """The recipe shrunken to minutes.

    Few streams make many steps of little text.
    """
    training = replace(recipe.training, epochs=2, batch_size=10)
    return replace(recipe, training=training)
