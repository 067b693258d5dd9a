"""Other people's packages: the version that is installed, or one line on adding it."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from kerasdistill.errors import UserError
from kerasdistill.reading_files import read_bytes

# What pip calls the packages whose modules have quite another name.
_DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
_MODULES = {name: module for module, name in _DISTRIBUTIONS.items()}
_VERSION = re.compile(rb"""^__version__ *= *["']([^"']+)["']""", re.MULTILINE)
UNKNOWN = "0+unknown"  # the version of a module whose files do not say it


def module_of(distribution: str) -> str:
    """The module that a distribution brings: keras_tuner of keras-tuner."""
    return _MODULES.get(distribution, distribution.replace("-", "_"))


def version(module: str) -> str | None:
    """A module's version, found without importing it; None if it is not installed.

    The same module may come under several names: tensorflow from tensorflow-cpu or
    tf-nightly, or from a plain folder, which has its version in its files alone.
    """
    if not is_installed(module):
        return None
    for name in _distributions(module):
        try:
            if found := metadata.version(name):
                return found
        except metadata.PackageNotFoundError:
            continue
    return _written(module) or UNKNOWN


def is_installed(module: str) -> bool:
    """Whether a module of the highest level could be imported; it is not."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return False
    except ValueError:  # it is imported, and says nothing of where it comes from
        return module in sys.modules
    # Any folder on the path is found, too, though it is no package.
    return spec is not None and spec.origin is not None


def require(*modules: str, by: str) -> None:
    """UserError, one line, with the command that adds those that are not installed.

    `by` says who needs them, such as "a picture".
    """
    absent = [_distribution(each) for each in modules if not is_installed(each)]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        command = " ".join(f"'{_requirement(name)}'" for name in absent)
        raise UserError(
            f"{by} needs {', '.join(absent)}, which {verb} not installed; add "
            f"{'it' if verb == 'is' else 'them'} with: pip install {command}"
        )


def _distribution(module: str) -> str:
    return _DISTRIBUTIONS.get(module, module.replace("_", "-"))


def _distributions(module: str) -> Iterator[str]:
    """The usual one first: to look through all that are installed takes longer."""
    yield _distribution(module)
    yield from metadata.packages_distributions().get(module, ())


def _requirement(name: str) -> str:
    """A distribution with the versions that kerasdistill is made for, if known."""
    try:
        texts = metadata.requires("kerasdistill") or ()
    except metadata.PackageNotFoundError:
        texts = ()
    for text in texts:
        found = re.match(r"([\w.-]+)([^;\[]*)", text)
        if found[1].replace("_", "-") == name:
            return found[0].strip()
    return name


def _written(module: str) -> str | None:
    """What an imported module, or else its source, says."""
    if found := getattr(sys.modules.get(module), "__version__", None):
        return str(found)
    origin = importlib.util.find_spec(module).origin
    for name in ("__init__.py", "version.py"):
        file = Path(origin or "").with_name(name)
        if file.is_file() and (found := _VERSION.search(read_bytes(file, "text"))):
            return found[1].decode()
    return None
