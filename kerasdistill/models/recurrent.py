"""LSTM over a window, fast in training: Keras' layer with back-propagation of its own.

Weights and equations are `keras.layers.LSTM`'s. Where the length of a window is
known (it is an array's, or a graph's with that shape), its steps are unrolled, all of
its inputs are multiplied by the kernel at once, and so are the gradients of the
weights, which automatic differentiation would add up step by step.
"""

import keras
from keras import ops

from kerasdistill.seeds import derive_seed


@keras.saving.register_keras_serializable("kerasdistill")
class WindowLSTM(keras.layers.LSTM):
    """(inputs [B, T, I], hidden [B, U], cell [B, U]) -> the same three, after T steps.

    All are float32. In training, matrix products are computed in `precision`; scores
    never are, so that they do not depend on it.

    Args:
        units: U.
        init_scale: weights begin uniformly in +-init_scale, biases at 0.
        seed: of the weights.
        precision: "float32" or "bfloat16"; no part of a saved model.
    """

    def __init__(
        self, units, *, init_scale=None, seed=0, precision="float32", **options
    ):
        options |= {"return_sequences": True, "return_state": True}
        if init_scale is not None:
            options["unit_forget_bias"] = False
            for number, name in enumerate(("kernel", "recurrent")):
                start = keras.initializers.RandomUniform(
                    -init_scale, init_scale, seed=derive_seed(seed, number)
                )
                options[f"{name}_initializer"] = start
        super().__init__(units, **options)
        self.precision = precision

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if sequences.shape[1] is None:  # Keras' own loop
            return super().call(sequences, initial_state, mask, training)
        cell = self.cell
        weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
        # Tensors: a custom gradient must not see variables.
        weights = [ops.copy(weight) for weight in weights]
        if training:
            dtype = self.precision
            return window_lstm(sequences, *initial_state, *weights, dtype=dtype)
        return _forward(sequences, *initial_state, *weights, dtype="float32")[0]


def window_lstm(inputs, hidden, cell, kernel, recurrent, bias, *, dtype):
    """LSTM over a window, differentiable.

    i, f, o = sigmoid and g = tanh of the four parts (in the order i, f, g, o) of
    x_t kernel + h_{t-1} recurrent + bias; c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    float32 inputs [B, T, I] of a fixed T, hidden h_0 and cell c_0 [B, U], kernel
    [I, 4U], recurrent [U, 4U], bias [4U] -> h_1..h_T [B, T, U], h_T and c_T. Matrix
    products are computed in `dtype`.
    """

    @ops.custom_gradient
    def run(*arguments):
        results, saved = _forward(*arguments, dtype=dtype)

        def gradient(*upstream_gradients, upstream=None):
            given = upstream_gradients if upstream is None else upstream
            if len(given) == 1:  # JAX has all three in one argument
                (given,) = given
            return _backward(*given, saved=saved, dtype=dtype)

        return results, gradient

    return run(inputs, hidden, cell, kernel, recurrent, bias)


def _forward(inputs, hidden, cell, kernel, recurrent, bias, *, dtype):
    steps, size = inputs.shape[1], inputs.shape[2]
    units = recurrent.shape[0]
    kernel, recurrent = ops.cast(kernel, dtype), ops.cast(recurrent, dtype)
    # Time first, so that a step's rows lie together.
    flat = ops.reshape(ops.transpose(inputs, (1, 0, 2)), (-1, size))
    flat = ops.cast(flat, dtype)
    given = ops.cast(ops.matmul(flat, kernel), "float32") + bias
    given = ops.unstack(ops.reshape(given, (steps, -1, 4 * units)), steps, axis=0)
    hiddens, cells, gates, squashed = [hidden], [cell], [], []
    for at_step in given:
        fed_back = ops.matmul(ops.cast(hiddens[-1], dtype), recurrent)
        parts = ops.split(at_step + ops.cast(fed_back, "float32"), 4, axis=1)
        i, f, o = (ops.sigmoid(parts[k]) for k in (0, 1, 3))
        g = ops.tanh(parts[2])
        cells.append(f * cells[-1] + i * g)
        squashed.append(ops.tanh(cells[-1]))
        hiddens.append(o * squashed[-1])
        gates.append((i, f, g, o))
    outputs = ops.stack(hiddens[1:], axis=1)
    saved = (flat, kernel, recurrent, hiddens[:-1], cells[:-1], gates, squashed)
    return (outputs, hiddens[-1], cells[-1]), saved


def _backward(outputs, hidden, cell, *, saved, dtype):
    """Gradients of the six arguments from those of the three results."""
    flat, kernel, recurrent, hiddens, cells, gates, squashed = saved
    steps, (size, width) = len(hiddens), kernel.shape
    # What does not depend on later steps, for all steps at once.
    i, f, g, o = (ops.stack(each) for each in zip(*gates, strict=True))
    tanh, before = ops.stack(squashed), ops.stack(cells)
    slopes = ops.stack(
        [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), tanh * o * (1 - o)],
        axis=2,
    )
    slopes = ops.unstack(ops.reshape(slopes, (steps, -1, width)), steps, axis=0)
    to_cell = ops.unstack(o * (1 - tanh * tanh), steps, axis=0)
    outputs = ops.unstack(outputs, steps, axis=1)
    back = ops.transpose(recurrent)
    changes = [None] * steps
    for t in reversed(range(steps)):
        hidden = hidden + outputs[t]
        cell = cell + hidden * to_cell[t]
        change = ops.concatenate([cell, cell, cell, hidden], axis=1) * slopes[t]
        changes[t] = ops.cast(change, dtype)
        hidden = ops.cast(ops.matmul(changes[t], back), "float32")
        cell = cell * gates[t][1]
    change = ops.concatenate(changes, axis=0)
    fed_back = ops.cast(ops.concatenate(hiddens, axis=0), dtype)
    inputs = ops.cast(ops.matmul(change, ops.transpose(kernel)), "float32")
    inputs = ops.transpose(ops.reshape(inputs, (steps, -1, size)), (1, 0, 2))
    return (
        inputs,
        hidden,
        cell,
        ops.cast(ops.matmul(ops.transpose(flat), change), "float32"),
        ops.cast(ops.matmul(ops.transpose(fed_back), change), "float32"),
        ops.sum(ops.cast(change, "float32"), axis=0),
    )
