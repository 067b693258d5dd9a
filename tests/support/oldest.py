"""Prints pip's constraints to the oldest versions that setup.py allows.

What is installed of kerasdistill says them, so they are written once.
"""

import re
from collections.abc import Iterable
from importlib import metadata


def oldest(requirements: Iterable[str]) -> list[str]:
    """Such as "keras==3.12" of "keras<3.16,>=3.12"; without those pinned anyway."""
    found = (re.match(r"([\w.-]+).*?>=([\w.]+)", text) for text in requirements)
    return sorted({f"{each[1]}=={each[2]}" for each in found if each})


if __name__ == "__main__":
    print("\n".join(oldest(metadata.requires("kerasdistill"))))
