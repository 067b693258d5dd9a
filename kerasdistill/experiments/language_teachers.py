"""Language models read back from their files, with what their cards say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kerasdistill import cards
from kerasdistill.errors import UserError
from kerasdistill.models import loading
from kerasdistill.recipes import base
from pipelines import text


@dataclass(frozen=True, eq=False)
class Known:
    """A language model's file, and what it is."""

    path: str
    model: keras.Model
    recipe: base.LanguageModelRecipe
    words: tuple[str, ...]
    card: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of the weights."""
        return self.card["weights_digest"]


def is_one(path: str | Path) -> bool:
    """Whether the card beside a model, or in a SavedModel, is a language model's."""
    card = cards.read_card(path)
    return card is not None and card.get("kind") == cards.LANGUAGE_MODEL


def known(path: str | Path, *, data: text.TextData | None = None) -> Known:
    """The language model at `path`, of the text's vocabulary if one is given.

    Raises:
        UserError: no such model, no card, or another vocabulary.
    """
    model = loading.load(path)
    card = cards.own_card(path, model)
    if not is_one(path):
        raise UserError(
            f"{path} is not a language model with its card.json beside it; pass one "
            "that language-model wrote"
        )
    words = tuple(card["words"])
    if data is not None:
        text.require_same_words(data.words, words, path=path)
    return Known(str(path), model, base.from_json(card["recipe"]), words, card)
