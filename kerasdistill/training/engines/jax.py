"""Trainings on JAX; see `Engine` for what each function promises.

Many steps are one compiled call: a loop over batches that lie on the device, which ends
at the first loss that is not finite. Meanwhile a thread reads the batches that follow
and puts them there too. XLA's own loops run convolutions on one processor only, so
there each step is a call of its own.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import keras

from kerasdistill import machine
from kerasdistill.models.saved import compilable
from kerasdistill.training.engines import AfterStep
from kerasdistill.training.engines.jax_devices import placing, using
from kerasdistill.training.engines.jax_steps import (
    assign,
    run_of,
    tested,
    trained,
    values_of,
)
from kerasdistill.training.engines.stacks import Ahead, Stacks, arrays

__all__ = ["using"]  # a function of the engine, too

_CALL_SECONDS = 0.5  # of steps in one call: bars move, and it can be interrupted
_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def start(*, deterministic: bool) -> None:
    """TensorFlow, which reads and makes the views, keeps off the GPUs.

    What is compiled is kept between processes in the user's cache, not in the workdir:
    it is machine code, and a workdir may be somebody else's.
    """
    os.environ.setdefault(_PREALLOCATE, "false")  # workers share the device
    if deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    _keep_compiled()
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    tf.get_logger().setLevel("ERROR")


def _keep_compiled() -> None:
    if jax.config.jax_compilation_cache_dir is not None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # What was compiled for one processor may crash on another.
    kind = "-".join(machine.instructions()) or "any"
    folder = Path(home, "kerasdistill", "jax", kind)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        jax.config.update("jax_compilation_cache_dir", str(folder))


def scope() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()  # `using` has told Keras where variables lie


def allow_gpu_growth() -> None:
    os.environ.setdefault(_PREALLOCATE, "false")


def devices() -> list[str]:
    return [f"{each.device_kind} ({each})" for each in jax.local_devices()]


def device() -> str:
    return jax.default_backend()


def resolve_precision(precision: str) -> str:
    """For "auto", mixed_bfloat16 on TPUs and on GPUs from compute capability 8.0, else
    float32: XLA's bfloat16 is slower on processors."""
    if precision != "auto":
        return precision
    capability = getattr(jax.local_devices()[0], "compute_capability", None)
    fast = jax.default_backend() == "tpu" or float(capability or 0) >= 8
    return "mixed_bfloat16" if fast else "float32"


def threads() -> dict[str, int]:
    """How many devices share a batch."""
    distribution = keras.distribution.distribution()
    count = distribution.device_mesh.devices.size if distribution else 1
    return {"devices": int(count)}


def is_out_of_memory(error: Exception) -> bool:
    exhausted = "RESOURCE_EXHAUSTED" in str(error)
    return isinstance(error, jax.errors.JaxRuntimeError) and exhausted


def compile(shell: keras.Model, make_optimizer: Callable[[], Any]) -> None:
    shell.compile(optimizer=make_optimizer())
    shell.optimizer.build(shell.trainable_variables)


def compiled(function: Callable, models: Sequence[keras.Model]) -> Callable:
    """A jitted function, which is given the variables of `models` with every call.

    One of models that TensorFlow runs stays as it is.
    """
    if not all(map(compilable, models)):
        return function
    variables = [each for model in models for each in getattr(model, "variables", ())]

    @jax.jit
    def run(values: list, arguments: tuple) -> Any:
        mapping = zip(variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return function(*arguments)

    return lambda *arguments: run([each.value for each in variables], arguments)


class _Session:
    """Keeps the state in Keras' variables whenever the loop has control."""

    def __init__(
        self,
        shell,
        train,
        *,
        validation=None,
        first_epoch=0,
        first_step=0,
        epochs=None,
    ):
        self._shell = shell
        place, every = placing(), train.steps_per_epoch
        batches = islice(arrays(train.batches(first_epoch)), first_step, None)
        stacks = Stacks(batches, place, longest=every)
        begin, end = first_epoch * every + first_step, epochs and epochs * every
        self._stacks = Ahead(stacks, begin, end, every=every)
        scored = [] if validation is None else list(arrays(validation))
        stacks = Stacks(iter(scored), place, longest=len(scored))
        self._validation = list(stacks.of(len(scored)))
        self._steps = run_of(functools.partial(trained, shell))
        self._tests = run_of(functools.partial(tested, shell))

    def train(self, steps: range, after_step: AfterStep) -> dict[str, float]:
        shell, done, pace = self._shell, steps.start, _Pace()
        groups = (
            *(shell.trainable_variables, shell.non_trainable_variables),
            *(shell.optimizer.variables, shell.metrics_variables),
        )
        fixed = values_of(shell.teachers_variables)
        for first, end, stack in self._stacks.of(len(steps)):
            while first < end:
                last = min(first + pace.steps, end)
                state = tuple(map(values_of, groups))
                with pace.timing(last - first):
                    ended, finite, state = self._steps(state, fixed, stack, first, last)
                for group, values in zip(groups, state, strict=True):
                    assign(group, values)
                done, first = done + ended - first, ended
                after_step(done - 1, self._metrics())
                if not finite:
                    return self._metrics()
        return self._metrics()

    def validate(self) -> dict[str, float]:
        shell = self._shell
        fixed = values_of(shell.variables)
        for count, stack in self._validation:
            measured = values_of(shell.metrics_variables)
            *_, measured = self._tests(measured, fixed, stack, 0, count)
            assign(shell.metrics_variables, measured)
        return {f"val_{name}": value for name, value in self._metrics().items()}

    def close(self) -> None:
        self._stacks.close()

    def _metrics(self) -> dict[str, float]:
        results = jax.device_get(self._shell.get_metrics_result())
        return {name: float(value) for name, value in results.items()}


session = _Session


class _Pace:
    """How many steps a call takes: all that are left where they are short."""

    def __init__(self):
        self.steps = 1

    @contextlib.contextmanager
    def timing(self, steps: int) -> Iterator[None]:
        """Within it, so many are done; learns from how long that takes."""
        began = time.monotonic()
        yield
        seconds = (time.monotonic() - began) / steps
        self.steps = max(1, min(8 * self.steps, int(_CALL_SECONDS / seconds)))
