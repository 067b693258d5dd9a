"""Search spaces, an oracle and tuners on top of KerasTuner."""

from kerasdistill import packages

packages.require("keras_tuner", "scipy", "threadpoolctl", by="a search")

from tuners.oracle import GaussianProcessOracle  # noqa: E402 (what it needs is there)

__all__ = ["GaussianProcessOracle"]
