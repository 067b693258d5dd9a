"""Whether SavedModels, which may run any code, are trusted."""

import contextlib
import contextvars
from collections.abc import Iterator
from pathlib import Path

from kerasdistill.errors import UserError

_TRUSTED = contextvars.ContextVar("trusted SavedModels", default=False)


@contextlib.contextmanager
def trusting(saved_models: bool) -> Iterator[None]:
    """Within it, models may hold SavedModels (--trust-saved-model), if it is true."""
    before = _TRUSTED.set(saved_models)
    try:
        yield
    finally:
        _TRUSTED.reset(before)


def trusted() -> bool:
    """Whether this is within `trusting(True)`."""
    return _TRUSTED.get()


def require_trust(path: str | Path) -> None:
    """UserError outside of `trusting`."""
    if not trusted():
        raise UserError(
            f"{path} is a SavedModel, which may run any code; if you trust it, add "
            "--trust-saved-model"
        )
