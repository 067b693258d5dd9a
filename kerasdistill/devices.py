"""What this process computes on: doors to the engine of Keras' backend."""

import contextlib
from typing import Any

from kerasdistill.training import engines


def using(devices: str) -> contextlib.AbstractContextManager[None]:
    """Within it, trainings are on the devices of --devices; see `engines.Engine`."""
    return engines.current().using(devices)


def scope() -> contextlib.AbstractContextManager[Any]:
    """Models that are built within it train on those devices."""
    return engines.current().scope()


def strategy() -> Any:
    """TensorFlow's strategy for those devices."""
    from kerasdistill.training.engines import tensorflow

    return tensorflow.strategy()


def allow_gpu_growth() -> None:
    """Lets several processes share a GPU; no effect once the backend has begun."""
    engines.current().allow_gpu_growth()


def resolve_precision(precision: str) -> str:
    """The Keras dtype policy to use for --precision."""
    return engines.current().resolve_precision(precision)
