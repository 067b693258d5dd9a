"""Search spaces, an oracle and tuners on top of KerasTuner."""

from tuners.oracle import GaussianProcessOracle

__all__ = ["GaussianProcessOracle"]
