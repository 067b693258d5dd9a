"""Our `pipelines` and `tuners`, whatever lies in the folder where Python starts.

Their names are everyday ones, and Python looks for them in the current folder first;
in an editable installation it looks for ours last of all.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]  # holds all three packages
NAMES = ("pipelines", "tuners")


def put_first() -> None:
    """Lets this program import ours: a program may change `sys.path`, not a library."""
    if strangers(sys.path):
        sys.path.insert(0, str(ROOT))


def require() -> None:
    """Raises ImportError, one line, where another package would be imported."""
    for name, place in strangers().items():
        raise ImportError(
            f"{place} would be imported as {name}, expected kerasdistill's own in "
            f"{ROOT}; rename it, or start Python in another folder"
        )


def strangers(path: Sequence[str] | None = None) -> dict[str, str]:
    """Name -> where another package lies that Python finds before ours.

    Args:
        path: folders to look through, such as `sys.path`; None: what an import would
            give now, with what is imported already and every finder.
    """
    places = {}
    for name in NAMES:
        if path is None:
            spec = importlib.util.find_spec(name)
        else:
            spec = PathFinder.find_spec(name, path)
        if spec is None:
            continue
        # A folder without __init__.py is a package too, with places and no file.
        place = spec.origin or next(iter(spec.submodule_search_locations))
        if not _is_ours(name, Path(place)):
            places[name] = str(place)
    return places


def strangers_here() -> dict[str, str]:
    """`strangers` to a new program that starts in the current folder."""
    changed = sys.path[:1] == [str(ROOT)]  # by `put_first`
    return strangers([os.getcwd(), *sys.path[changed:]])


def _is_ours(name: str, place: Path) -> bool:
    try:
        return place.parent.samefile(ROOT / name)
    except OSError:  # ours lie apart, in an installation of another kind
        return not (ROOT / name).is_dir()
