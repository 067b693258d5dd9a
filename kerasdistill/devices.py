"""What this process computes on: replicas and number formats."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import tensorflow as tf

from kerasdistill import machine
from kerasdistill.errors import UserError

# What `using` is within. A strategy's own scope would not do: a SavedModel that is
# read back in one can't be called.
_ASKED = contextvars.ContextVar("devices", default="all")


def strategy() -> tf.distribute.Strategy:
    """What models train in here: `choose` of what `using` says, by default of "all"."""
    return choose(_ASKED.get())


@contextlib.contextmanager
def using(asked: str) -> Iterator[None]:
    """Within it, trainings are on the devices of --devices, see `choose`.

    "all" does not start TensorFlow before that is needed.
    """
    if asked != "all":
        allow_gpu_growth()  # choosing starts TensorFlow, and then it is too late
        choose(asked)
    before = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(before)


@functools.cache
def choose(asked: str) -> tf.distribute.Strategy:
    """The strategy of --devices; one per process each, reused.

    (Each MirroredStrategy holds communicators of its own.)

    Args:
        asked: "all": every GPU, or TensorFlow's default where there are fewer than
            two; a number of GPUs; or "cpu:N", N equal parts of the processor, which
            has to be asked for before TensorFlow first computes something.

    Raises:
        UserError: text of another form, or more devices than there are.
    """
    count = asked.removeprefix("cpu:")
    if asked != "all" and (not count.isdecimal() or int(count) < 1):
        raise UserError(f"--devices {asked!r}: expected all, a number or cpu:N")
    if asked.startswith("cpu:"):
        return tf.distribute.MirroredStrategy(_processors(int(count)))
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if asked == "all":
        some = tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else None
        return some or tf.distribute.get_strategy()
    if int(asked) > len(gpus):
        raise UserError(
            f"--devices {asked}: there are {len(gpus)} GPUs here; ask for fewer, or "
            "for parts of the processor, such as cpu:2"
        )
    return tf.distribute.MirroredStrategy(gpus[: int(asked)])


def _processors(count: int) -> list[str]:
    part = tf.config.LogicalDeviceConfiguration()
    processor = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun: as many as it has
        tf.config.set_logical_device_configuration(processor, [part] * count)
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(names) < count:
        raise UserError(
            f"--devices cpu:{count}: TensorFlow has begun with {len(names)} already; "
            "ask in a process of its own"
        )
    return names[:count]


def allow_gpu_growth() -> None:
    """Lets several processes share a GPU; no effect once TensorFlow has started."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            return


def resolve_precision(asked: str) -> str:
    """The Keras dtype policy to use for --precision.

    "auto" is mixed_bfloat16 where the hardware multiplies bfloat16 (amx_bf16 or
    avx512_bf16 on a CPU, compute capability 8.0 on a GPU), else float32.
    """
    if asked != "auto":
        return asked
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        capabilities = [d.get("compute_capability", (0, 0)) for d in details]
        return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "float32"
    return "mixed_bfloat16" if machine.has_bfloat16() else "float32"
