"""Muon for convolutions: orthogonalised momentum (Jordan et al. 2024)."""

import keras
from keras import ops

# Newton-Schulz coefficients that carry singular values near 1 in few steps.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 3
# Of everything but kernels; factors and decay are per example of a batch.
_VECTOR_FACTOR = 0.22  # biases and offsets
_MATRIX_FACTOR = 4.26e-5  # kernels of dense layers
_MOMENTUM = 0.85
_DECAY = 8.3e-6  # decoupled, per unit of the learning rate


@keras.saving.register_keras_serializable("kerasdistill")
class Muon(keras.optimizers.Optimizer):
    """Muon on kernels of convolutions, Nesterov SGD on everything else.

    A convolution's gradient, with Nesterov momentum, is seen as a matrix [height *
    width * inputs, outputs] and replaced by one with singular values near 1; the
    kernel's norm is set to sqrt(outputs) before each step, which changes nothing
    where batch normalisation follows. `keras.optimizers.Muon` does this to matrices
    alone and leaves convolutions to AdamW.

    Args:
        learning_rate: step of a kernel in units of its singular values, or a
            schedule; everything else uses it times a factor.
        momentum: of kernels.
        batch_size: the steps of everything but kernels grow with it, so an epoch moves
            them as far.
    """

    def __init__(
        self,
        learning_rate=0.24,
        momentum=0.6,
        *,
        batch_size=2000,
        name="muon",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.batch_size = batch_size

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        """One variable's step; `gradient` is of the mean loss of the batch."""
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        kept = self._momenta[self._get_variable_index(variable)]
        kernel = len(variable.shape) == 4
        momentum = self.momentum if kernel else _MOMENTUM
        self.assign(kept, momentum * kept + gradient)
        step = gradient + momentum * kept
        if kernel:
            norm = ops.sqrt(ops.sum(ops.square(variable))) + 1e-7
            length = float(variable.shape[-1]) ** 0.5
            self.assign(variable, variable * (length / norm) - rate * _whitened(step))
            return
        factor = _VECTOR_FACTOR if len(variable.shape) == 1 else _MATRIX_FACTOR
        rate = rate * self.batch_size
        self.assign_sub(variable, rate * (factor * step + _DECAY * variable))

    def get_config(self):
        own = {"momentum": self.momentum, "batch_size": self.batch_size}
        return {**super().get_config(), **own}


def _whitened(step):
    """The step with singular values near 1 (0.7 to 1.2 where they were not tiny)."""
    outputs = step.shape[-1]
    matrix = ops.reshape(step, (-1, outputs))
    wide = matrix.shape[0] <= outputs
    if not wide:
        matrix = ops.transpose(matrix)
    # No singular value exceeds the norm of all entries.
    matrix = matrix / (ops.sqrt(ops.sum(ops.square(matrix))) + 1e-7)
    for _ in range(_STEPS):
        square = ops.matmul(matrix, ops.transpose(matrix))
        mixed = _B * square + _C * ops.matmul(square, square)
        matrix = _A * matrix + ops.matmul(mixed, matrix)
    if not wide:
        matrix = ops.transpose(matrix)
    return ops.reshape(matrix, step.shape)
