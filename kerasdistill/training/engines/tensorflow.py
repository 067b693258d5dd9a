"""Trainings on TensorFlow; see `Engine` for what each function promises."""

import contextlib
import contextvars
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from kerasdistill import machine
from kerasdistill.errors import UserError
from kerasdistill.models.summary import leaf_layers
from kerasdistill.training.engines import AfterStep

# What `using` is within. A strategy's own scope would not do: a SavedModel that is
# read back in one can't be called.
_DEVICES = contextvars.ContextVar("devices", default="all")


def start(*, deterministic: bool) -> None:
    """Turns off advice to whoever writes TensorFlow code, such as on retracing."""
    tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")
    if deterministic:
        os.environ["TF_DETERMINISTIC_OPS"] = "1"  # workers' too
        tf.config.experimental.enable_op_determinism()


def strategy() -> tf.distribute.Strategy:
    """What models train in here: `choose` of what `using` says, by default of "all"."""
    return choose(_DEVICES.get())


def scope() -> contextlib.AbstractContextManager[Any]:
    return strategy().scope()


@contextlib.contextmanager
def using(devices: str) -> Iterator[None]:
    """Within it, trainings are in the strategy of `devices`, see `choose`."""
    if devices != "all":  # that strategy waits until it is needed
        allow_gpu_growth()  # choosing starts TensorFlow, and then it is too late
        choose(devices)
    before = _DEVICES.set(devices)
    try:
        yield
    finally:
        _DEVICES.reset(before)


@functools.cache
def choose(devices: str) -> tf.distribute.Strategy:
    """The strategy of `devices`; kept, because each holds communicators of its own.

    "all" is TensorFlow's default strategy where there are fewer than two GPUs; the
    parts of "cpu:N" can only be made before TensorFlow first computes something.
    """
    count = devices.removeprefix("cpu:")
    if devices != "all" and (not count.isdecimal() or int(count) < 1):
        raise UserError(f"`devices` {devices!r}: expected all, a number or cpu:N")
    if devices.startswith("cpu:"):
        return tf.distribute.MirroredStrategy(_processors(int(count)))
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    if devices == "all":
        several = tf.distribute.MirroredStrategy(gpus) if len(gpus) > 1 else None
        return several or tf.distribute.get_strategy()
    if int(devices) > len(gpus):
        raise UserError(
            f"`devices={devices}`: there are {len(gpus)} GPUs here; give a smaller "
            "number, or parts of the processor, such as cpu:2"
        )
    return tf.distribute.MirroredStrategy(gpus[: int(devices)])


def _processors(count: int) -> list[str]:
    part = tf.config.LogicalDeviceConfiguration()
    processor = tf.config.list_physical_devices("CPU")[0]
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun: as many as it has
        tf.config.set_logical_device_configuration(processor, [part] * count)
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(names) < count:
        raise UserError(
            f"`devices=cpu:{count}`: TensorFlow has begun with {len(names)} already; "
            "start a process of its own for it"
        )
    return names[:count]


def allow_gpu_growth() -> None:
    with contextlib.suppress(RuntimeError):
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)


def devices() -> list[str]:
    return [device.name for device in tf.config.list_physical_devices()]


def device() -> str:
    return "gpu" if tf.config.list_physical_devices("GPU") else "cpu"


def resolve_precision(precision: str) -> str:
    """For "auto", mixed_bfloat16 where the hardware multiplies bfloat16, else float32.

    That takes amx_bf16 or avx512_bf16 on a CPU, compute capability 8.0 on a GPU.
    """
    if precision != "auto":
        return precision
    fast = machine.has_bfloat16()
    if gpus := tf.config.list_physical_devices("GPU"):
        details = map(tf.config.experimental.get_device_details, gpus)
        fast = min(d.get("compute_capability", (0, 0)) for d in details) >= (8, 0)
    return "mixed_bfloat16" if fast else "float32"


def threads() -> dict[str, int]:
    """How many TensorFlow computes with (0: it chooses)."""
    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, tf.errors.ResourceExhaustedError)


def compile(shell: keras.Model, make_optimizer: Callable[[], Any]) -> None:
    """Keras' compile, with the optimizer's state on every replica."""
    with shell.distribute_strategy.scope():
        shell.compile(optimizer=make_optimizer())
        shell.optimizer.build(shell.trainable_variables)


def compiled(function: Callable, models: Sequence[keras.Model]) -> Callable:
    """A tf.function, which sees the variables of `models` anyway."""
    return tf.function(function)


class _Session:
    """What Keras' `fit` does, without its callbacks: they wait for every step."""

    def __init__(
        self,
        shell,
        train,
        *,
        validation=None,
        first_epoch=0,
        first_step=0,
        epochs=None,  # what is read ahead here is little
    ):
        self._shell = shell
        batches = train.batches(first_epoch).skip(first_step)
        self._batches = iter(self._distributed(batches))
        if validation is not None:
            self._validation = self._distributed(validation)
            self._num_scored = int(validation.cardinality())
        shell.make_train_function()
        shell.make_test_function()

    def train(self, steps: range, after_step: AfterStep) -> dict[str, float]:
        for step in steps:
            after_step(step, self._shell.train_function(self._batches))
        return self._metrics()

    def validate(self) -> dict[str, float]:
        batches = iter(self._validation)
        for _ in range(self._num_scored):
            self._shell.test_function(batches)
        return {f"val_{name}": value for name, value in self._metrics().items()}

    def close(self) -> None:
        pass

    def _metrics(self) -> dict[str, float]:
        results = self._shell.get_metrics_result()
        return {name: float(value) for name, value in results.items()}

    def _distributed(self, data: tf.data.Dataset) -> Any:
        shares = for_replicas(self._shell, data)
        return self._shell.distribute_strategy.experimental_distribute_dataset(shares)


session = _Session


def for_replicas(shell: keras.Model, data: Any) -> Any:
    """Repeats examples, at weight 0, so that all replicas get equal shares of a batch.

    A network with batch normalisation gets whole copies of such a batch, because they
    leave its mean and variance as they are; others get the few that are lacking.
    """
    replicas = shell.distribute_strategy.num_replicas_in_sync
    if replicas == 1 or not isinstance(data, tf.data.Dataset):
        return data
    copies = tf.constant([replicas // math.gcd(n, replicas) for n in range(replicas)])
    norm = keras.layers.BatchNormalization
    normalised = any(isinstance(layer, norm) for layer in leaf_layers(shell.student))

    def shared(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        count = tf.shape(next(iter(batch.values())))[0]
        again = -count % replicas
        if normalised:
            again = count * (copies[count % replicas] - 1)
        places = tf.range(count + again) % count
        given = tf.cast(batch.get("weight", tf.ones([count])), tf.float32)
        weight = tf.concat([given, tf.zeros([again])], axis=0)
        chosen = {name: tf.gather(value, places) for name, value in batch.items()}
        return {**chosen, "weight": weight}

    return data.map(shared, num_parallel_calls=tf.data.AUTOTUNE)
