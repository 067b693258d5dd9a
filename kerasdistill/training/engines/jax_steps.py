"""One step of a shell on JAX, and many steps one after the other."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasdistill.training.engines.stacks import Batch

# Values of Keras variables: the trained, the shell's others, the optimizer's, the
# metrics', in the order in which the shell has them.
State = tuple[list, list, list, list]


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


def trained(shell, state: State, fixed: list, batch: Batch) -> tuple[Any, State]:
    """A step of training, for `run_of`."""
    return updated(shell, state, batch, fixed)


def tested(shell, measured: list, fixed: list, batch: Batch) -> tuple[Any, list]:
    """A step of scoring, of the metrics' values and those of `shell.variables`."""
    mapping = zip(shell.variables, fixed, strict=True)
    with keras.StatelessScope(state_mapping=list(mapping)):
        observed = shell.scored(batch)
    return jnp.zeros(()), _observing(shell, measured, observed)


def values_of(variables: Sequence[Any]) -> list:
    """Their arrays."""
    return [each.value for each in variables]


def assign(variables: Sequence[Any], values: list) -> None:
    """Puts arrays into variables."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def run_of(step: Callable) -> Callable:
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
