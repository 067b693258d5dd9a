"""What the fuzz tests share: how often, and what may come of a case."""

import os

import pytest
from hypothesis import HealthCheck, settings

from kerasdistill.errors import UserError

SECONDS = 20  # more for one case counts as a hang
SLOW = pytest.mark.slow


def cases(count: int):
    """So many examples, the same ones every time unless CHAOS_SEED is set."""
    return settings(
        max_examples=count,
        deadline=SECONDS * 1000,
        derandomize="CHAOS_SEED" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def ends_well(call):
    """What the call returns, or the UserError that it refuses with: one line."""
    try:
        return call()
    except UserError as error:
        assert str(error).strip(), "an error that says nothing"
        return error
