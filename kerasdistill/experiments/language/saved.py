"""Language models read back from their files, with their cards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kerasdistill.errors import UserError
from kerasdistill.exports import cards
from kerasdistill.models import loading
from kerasdistill.running.steps import Results
from pipelines.words import text


@dataclass(frozen=True)
class Models:
    """Teachers, or members of an ensemble.

    `given` has the `model` (its path) and `weights_digest` of files, and so have the
    results of the steps named in `trained`.
    """

    given: tuple[dict[str, Any], ...] = ()
    trained: tuple[str, ...] = ()

    def of(self, before: Results, *, fact: str) -> list[Any]:
        """One fact of each."""
        trained = (before[name] for name in self.trained)
        return [each[fact] for each in (*self.given, *trained)]

    def load(self, before: Results, *, data: text.TextData) -> list[keras.Model]:
        """The models; UserError as from `load`."""
        return [load(path, data=data)[0] for path in self.of(before, fact="model")]


def load(
    path: str | Path, *, data: text.TextData | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    """The language model at `path` and its card, of the text's vocabulary if given.

    Raises:
        UserError: no such model, no card, or another vocabulary.
    """
    model = loading.load(path)
    card = cards.own_card(path, model)
    if card is None or card.get("kind") != cards.LANGUAGE_MODEL:
        raise UserError(
            f"{path} is not a language model with its card.json beside it; pass one "
            "that language-model wrote"
        )
    if data is not None:
        text.require_same_words(data.words, tuple(card["words"]), path=path)
    return model, card
