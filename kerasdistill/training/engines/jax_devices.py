"""On which devices JAX trains, by Keras' `DataParallel`, and how batches lie there."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from kerasdistill.errors import UserError
from kerasdistill.training.engines.stacks import Batch

_AXIS = "batch"  # of the devices' mesh


@contextlib.contextmanager
def using(devices: str) -> Iterator[None]:
    """By Keras' `DataParallel`, which it and this module look up wherever needed."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(_distribution(devices))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _distribution(devices: str) -> keras.distribution.DataParallel | None:
    """Of `devices`; None for the only one there is."""
    count = devices.removeprefix("cpu:")
    if devices != "all" and (not count.isdecimal() or int(count) < 1):
        raise UserError(f"`devices={devices}`: expected all, a number or cpu:N")
    if devices.startswith("cpu:"):
        return _parallel(_processors(int(count)))
    found = [] if jax.default_backend() == "cpu" else jax.local_devices()
    if devices == "all":
        return _parallel(found) if len(found) > 1 else None
    if int(devices) > len(found):
        raise UserError(
            f"`devices={devices}`: there are {len(found)} GPUs here; give a smaller "
            "number, or parts of the processor, such as cpu:2"
        )
    return _parallel(found[: int(devices)])


def _parallel(devices: Sequence[Any]) -> keras.distribution.DataParallel:
    names = [f"{device.platform}:{device.id}" for device in devices]
    return keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)


def _processors(count: int) -> list[Any]:
    with contextlib.suppress(RuntimeError):  # JAX has begun: as many as it has
        jax.config.update("jax_num_cpu_devices", count)
    found = jax.local_devices(backend="cpu")
    if len(found) < count:
        raise UserError(
            f"`devices=cpu:{count}`: JAX has begun with {len(found)} already; start a "
            "process of its own for it"
        )
    return found[:count]


def placing() -> Callable[[Batch], Batch]:
    """Puts a stack on the devices, each batch in equal shares.

    A batch that doesn't divide lies whole on each, which changes no value either.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put
    mesh = distribution.device_mesh.backend_mesh
    count = mesh.devices.size

    def place(stack: Batch) -> Batch:
        return {
            name: jax.device_put(rows, NamedSharding(mesh, _shares(rows, count)))
            for name, rows in stack.items()
        }

    return place


def _shares(rows: np.ndarray, count: int) -> PartitionSpec:
    divides = rows.ndim > 1 and rows.shape[1] % count == 0
    return PartitionSpec(None, _AXIS) if divides else PartitionSpec()
