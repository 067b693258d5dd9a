"""Measuring what a training costs takes as few steps as it can."""

import pytest

from kerasdistill.experiments import costs


@pytest.fixture(autouse=True)
def measured_briefly(monkeypatch):
    for name in ("_WARM_SECONDS", "_TRAINED_SECONDS", "_SCORED_SECONDS"):
        monkeypatch.setattr(costs, name, 0.0)
