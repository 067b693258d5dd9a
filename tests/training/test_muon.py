"""Muon's steps against NumPy's singular value decomposition."""

import keras
import numpy as np
import pytest

from kerasdistill.training.muon import Muon


def one_step(value, gradient, **arguments):
    variable = keras.Variable(value.astype(np.float32))
    optimizer = Muon(**arguments)
    optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    return keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 4, 5), (2, 2, 2, 30)])
def test_a_kernel_s_step_has_singular_values_near_one(shape):
    generator = np.random.default_rng(0)
    start, gradient = generator.normal(size=shape), generator.normal(size=shape)
    gradient *= 1e-4  # its size does not matter
    after = one_step(start, gradient, learning_rate=0.5)
    scaled = start * np.sqrt(shape[-1]) / np.linalg.norm(start)
    step = (scaled - after).reshape(-1, shape[-1]) / 0.5
    values = np.linalg.svd(step, compute_uv=False)
    assert 0.5 < values.min() and values.max() < 1.3
    left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
    along = np.sum(step * (left @ right)) / np.sum(np.square(step)) ** 0.5
    assert along / np.sqrt(min(step.shape)) > 0.95


def test_vectors_and_matrices_take_nesterov_steps():
    generator = np.random.default_rng(1)
    for shape, factor in (((6,), 440.0), ((6, 4), 0.0852)):
        start = generator.normal(size=shape).astype(np.float32)
        gradients = generator.normal(size=(2, *shape)).astype(np.float32)
        variable = keras.Variable(start)
        optimizer = Muon(0.1, batch_size=2000)
        expected, kept = start, 0.0
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
            kept = 0.85 * kept + gradient
            step = factor * (gradient + 0.85 * kept) + 0.0166 * expected
            expected = expected - 0.1 * step
        found = keras.ops.convert_to_numpy(variable)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_kernels_have_momentum():
    gradients = np.random.default_rng(2).normal(size=(2, 1, 1, 3, 3))
    second = []
    for first in (gradients[0], -gradients[0]):
        variable = keras.Variable(np.eye(3, dtype=np.float32)[None, None])
        optimizer = Muon(0.1, momentum=0.9)
        for gradient in (first, gradients[1]):
            optimizer.apply(
                [keras.ops.convert_to_tensor(gradient, "float32")], [variable]
            )
        second.append(keras.ops.convert_to_numpy(variable))
    assert not np.allclose(second[0], second[1], atol=0.05)


def test_the_configuration_makes_it_again():
    made = Muon(0.3, momentum=0.5, batch_size=7)
    again = Muon.from_config(made.get_config())
    assert again.get_config() == made.get_config()
