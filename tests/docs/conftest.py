"""The documentation's pages, and the code in them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A fence may stand inside a list; its closing line is indented alike.
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="session")
def blocks():
    """Page -> the kind and the text of each of its fenced blocks, in order."""

    def read(page: Path) -> list[tuple[str, str]]:
        found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
        return [(match["kind"].strip(), match["text"]) for match in found]

    return read
