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
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasdistill import machine
from kerasdistill.training.engines import AfterStep
from kerasdistill.training.engines.jax_devices import placing, using
from kerasdistill.training.engines.stacks import Ahead, Batch, Stacks, arrays

__all__ = ["using"]  # a function of the engine, too

# Values of Keras variables: the trained, the shell's others, the optimizer's, the
# metrics', in the order in which the shell has them.
State = tuple[list, list, list, list]

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
    """A jitted function, which is given the variables of `models` with every call."""
    variables = [each for model in models for each in getattr(model, "variables", ())]

    @jax.jit
    def run(values: list, arguments: tuple) -> Any:
        mapping = zip(variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return function(*arguments)

    return lambda *arguments: run([each.value for each in variables], arguments)


def updated(
    shell: keras.Model, state: State, batch: Batch, teachers: Sequence[Any] = ()
) -> tuple[Any, State]:
    """One update by the mean loss of a batch: the loss and the new state.

    `teachers` are the values of `shell.teachers_variables` (empty: those they have).
    """
    trained, others, optimizing, measured = state
    beside = [*zip(shell.optimizer.variables, optimizing, strict=True)]
    beside += zip(shell.teachers_variables, teachers, strict=False)

    def loss_of(trained: list, others: list) -> tuple[Any, tuple]:
        mapping = [*zip(shell.trainable_variables, trained, strict=True), *beside]
        mapping += zip(shell.non_trainable_variables, others, strict=True)
        how = {"state_mapping": mapping, "collect_losses": True}
        with keras.StatelessScope(**how) as scope:
            loss, observed = shell.learned(batch)
            scaled = shell.optimizer.scale_loss(loss)
        after = [scope.get_current_value(v) for v in shell.non_trainable_variables]
        return scaled, (loss, observed, after)

    gradient = jax.value_and_grad(loss_of, has_aux=True)
    (_, (loss, observed, others)), gradients = gradient(trained, others)
    how = (optimizing, gradients, trained)
    trained, optimizing = shell.optimizer.stateless_apply(*how)
    measured = _observing(shell, measured, observed)
    return loss, (trained, others, optimizing, measured)


def _observing(shell: keras.Model, measured: list, observed: Mapping) -> list:
    """The metrics' values after those of a batch, by the metrics' names."""
    mapping = zip(shell.metrics_variables, measured, strict=True)
    with keras.StatelessScope(state_mapping=list(mapping)) as scope:
        shell.observe(observed)
    return [scope.get_current_value(each) for each in shell.metrics_variables]


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
        self._steps = _run_of(functools.partial(_trained, shell))
        self._tests = _run_of(functools.partial(_tested, shell))

    def train(self, steps: range, after_step: AfterStep) -> dict[str, float]:
        shell, done, pace = self._shell, steps.start, _Pace()
        groups = (
            *(shell.trainable_variables, shell.non_trainable_variables),
            *(shell.optimizer.variables, shell.metrics_variables),
        )
        fixed = _values(shell.teachers_variables)
        for first, end, stack in self._stacks.of(len(steps)):
            while first < end:
                last = min(first + pace.steps, end)
                state = tuple(map(_values, groups))
                with pace.timing(last - first):
                    ended, finite, state = self._steps(state, fixed, stack, first, last)
                for group, values in zip(groups, state, strict=True):
                    _assign(group, values)
                done, first = done + ended - first, ended
                after_step(done - 1, self._metrics())
                if not finite:
                    return self._metrics()
        return self._metrics()

    def validate(self) -> dict[str, float]:
        shell = self._shell
        fixed = _values(shell.variables)
        for count, stack in self._validation:
            measured = _values(shell.metrics_variables)
            *_, measured = self._tests(measured, fixed, stack, 0, count)
            _assign(shell.metrics_variables, measured)
        return {f"val_{name}": value for name, value in self._metrics().items()}

    def close(self) -> None:
        self._stacks.close()

    def _metrics(self) -> dict[str, float]:
        results = jax.device_get(self._shell.get_metrics_result())
        return {name: float(value) for name, value in results.items()}


session = _Session


def _trained(shell, state: State, fixed: list, batch: Batch) -> tuple[Any, State]:
    return updated(shell, state, batch, fixed)


def _tested(shell, measured: list, fixed: list, batch: Batch) -> tuple[Any, list]:
    mapping = zip(shell.variables, fixed, strict=True)
    with keras.StatelessScope(state_mapping=list(mapping)):
        observed = shell.scored(batch)
    return jnp.zeros(()), _observing(shell, measured, observed)


def _values(variables: Sequence[Any]) -> list:
    return [each.value for each in variables]


def _assign(variables: Sequence[Any], values: list) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _run_of(step: Callable) -> Callable:
    """What takes (state, fixed, stack, first, last) through the steps from `first` to
    before `last`, or to a loss that is not finite: (where it ended, whether all losses
    were finite, the state). `step` gives a loss and the next state."""

    def one(state, fixed, stack, place):
        batch = {
            name: jax.lax.dynamic_index_in_dim(rows, place, keepdims=False)
            for name, rows in stack.items()
        }
        loss, state = step(state, fixed, batch)
        return jnp.isfinite(loss), state

    return _step_by_step(one) if jax.default_backend() == "cpu" else _in_a_loop(one)


def _step_by_step(one: Callable) -> Callable:
    single = jax.jit(one, donate_argnums=0)

    def steps(state, fixed, stack, first, last):
        every = []
        for place in range(first, last):
            finite, state = single(state, fixed, stack, np.int32(place))
            every.append(finite)
            # So far behind the processor isn't kept waiting.
            if not all(every[-3:-2]):
                break
        finite = [bool(each) for each in every]
        ended = finite.index(False) + 1 if False in finite else len(finite)
        return first + ended, all(finite), state

    return steps


def _in_a_loop(one: Callable) -> Callable:
    @functools.partial(jax.jit, donate_argnums=0)
    def steps(state, fixed, stack, first, last):
        def goes_on(carried):
            place, finite, _ = carried
            return (place < last) & finite

        def move(carried):
            place, _, state = carried
            return place + 1, *one(state, fixed, stack, place)

        begun = (first, jnp.bool_(True), state)
        return jax.lax.while_loop(goes_on, move, begun)

    def run(state, fixed, stack, first, last):
        how = (np.int32(first), np.int32(last))
        ended, finite, state = steps(state, fixed, stack, *how)
        return int(ended), bool(finite), state

    return run


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
